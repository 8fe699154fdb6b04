# The owner's daemon: runs where the weights are, dials out, needs no port.
# Built from the root of the repository: docker build -f docker/prover.Dockerfile -t weightproof-prover:0.1.0 .
FROM python:3.11.14-slim-bookworm AS build
# torch comes from the index that pip is given (the secret pip, a pip.conf): PyPI has CUDA wheels.
ARG EXTRAS=prover
ENV PIP_CONSTRAINT=/src/constraints.txt PIP_NO_CACHE_DIR=1 PIP_DISABLE_PIP_VERSION_CHECK=1
WORKDIR /src
COPY constraints.txt pyproject.toml setup.py README.md ./
COPY protos protos
COPY circuits circuits
COPY verifier verifier
COPY prover prover
RUN --mount=type=secret,id=pip,target=/etc/pip.conf \
    python -m venv --without-pip /opt/weightproof \
    && pip wheel --no-deps --wheel-dir /wheels . \
    && pip --python /opt/weightproof/bin/python install "$(echo /wheels/weightproof-*.whl)[${EXTRAS}]"

FROM python:3.11.14-slim-bookworm
LABEL org.opencontainers.image.title="weightproof-prover" \
      org.opencontainers.image.description="Commits to private weights and proves policies about them." \
      org.opencontainers.image.version="0.1.0"
RUN useradd --system --uid 10002 --user-group --no-create-home --home-dir /nonexistent --shell /usr/sbin/nologin weightproof \
    && install --directory --owner=10002 --group=10002 --mode=0700 /var/lib/weightproof /var/cache/weightproof
COPY --from=build /opt/weightproof /opt/weightproof
# The package's folder is not writable, so the kernels, compiled at the first job for the processor that is there, go to
# $XDG_CACHE_HOME/weightproof. NUMBA_CACHE_DIR stays unset: it would move the machine code, but not the mark that it is whole.
ENV PATH=/opt/weightproof/bin:$PATH PYTHONUNBUFFERED=1 PYTHONDONTWRITEBYTECODE=1 XDG_CACHE_HOME=/var/cache/weightproof
USER 10002:10002
WORKDIR /var/lib/weightproof
VOLUME ["/var/lib/weightproof", "/var/cache/weightproof"]
STOPSIGNAL SIGTERM
# The daemon answers on its Unix socket.
HEALTHCHECK --interval=30s --timeout=15s --start-period=60s --retries=3 \
    CMD ["python", "-c", "import socket; socket.socket(socket.AF_UNIX).connect('/var/lib/weightproof/prover.sock')"]
ENTRYPOINT ["weightproof-prover"]
CMD ["serve", "--config", "/etc/weightproof/prover.toml"]
