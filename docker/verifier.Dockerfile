# The regulator's service: numpy, gRPC and SQL; no compiler, no torch, no code of the prover.
# Built from the root of the repository: docker build -f docker/verifier.Dockerfile -t weightproof-verifier:0.1.0 .
FROM python:3.11.14-slim-bookworm AS build
# constraints.txt pins what is installed, and what the wheel is built with.
ENV PIP_CONSTRAINT=/src/constraints.txt PIP_NO_CACHE_DIR=1 PIP_DISABLE_PIP_VERSION_CHECK=1
WORKDIR /src
COPY constraints.txt pyproject.toml setup.py README.md ./
COPY protos protos
COPY circuits circuits
COPY verifier verifier
# The secret pip, if given, is a pip.conf that names a package index of yours; it stays out of the image.
RUN --mount=type=secret,id=pip,target=/etc/pip.conf \
    python -m venv --without-pip /opt/weightproof \
    && pip wheel --no-deps --wheel-dir /wheels . \
    && pip --python /opt/weightproof/bin/python install "$(echo /wheels/weightproof-*.whl)[postgres]" \
    && rm /opt/weightproof/bin/weightproof-prover

FROM python:3.11.14-slim-bookworm
LABEL org.opencontainers.image.title="weightproof-verifier" \
      org.opencontainers.image.description="Checks proofs about private weights, signs attestations, keeps a public log." \
      org.opencontainers.image.version="0.1.0"
RUN useradd --system --uid 10001 --user-group --no-create-home --home-dir /nonexistent --shell /usr/sbin/nologin weightproof \
    && install --directory --owner=10001 --group=10001 --mode=0700 /var/lib/weightproof
COPY --from=build /opt/weightproof /opt/weightproof
ENV PATH=/opt/weightproof/bin:$PATH PYTHONUNBUFFERED=1 PYTHONDONTWRITEBYTECODE=1
USER 10001:10001
WORKDIR /var/lib/weightproof
VOLUME /var/lib/weightproof
EXPOSE 7443
STOPSIGNAL SIGTERM
HEALTHCHECK --interval=30s --timeout=15s --start-period=30s --retries=3 \
    CMD ["weightproof-verifier", "remote", "--to", "localhost:7443", "--ca", "/run/secrets/ca.pem", \
         "--cert", "/run/secrets/health.pem", "--key", "/run/secrets/health.key", "--patience", "0", "health"]
ENTRYPOINT ["weightproof-verifier"]
CMD ["serve", "--config", "/var/lib/weightproof/service/verifier.toml"]
