"""Who gets in, and what each caller may see: nobody without a certificate, no owner at another's things."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import grpc
import pytest
from grpc_health.v1 import health_pb2, health_pb2_grpc
from grpc_reflection.v1alpha import reflection_pb2, reflection_pb2_grpc

from circuits.errors import FormatError, WeightproofError
from tests.service.parties import Owner, Service
from verifier.service.client import VerifierClient
from verifier.service.errors import AccessError, NotFoundError, UnavailableError
from weightproof.v1 import artifacts_pb2 as artifacts
from weightproof.v1 import verifier_service_pb2 as wire


@pytest.mark.parametrize("name", ["expired", "foreign"])
def test_a_certificate_that_does_not_hold_ends_at_tls(service: Service, name: str) -> None:
    with pytest.raises(UnavailableError, match="certificate"):
        service.client(name, patience=0.0).service_info()


def test_without_a_certificate_nobody_gets_in(service: Service) -> None:
    authority = (service.certificates.folder / "ca.pem").read_bytes()
    with grpc.secure_channel(f"localhost:{service.port}", grpc.ssl_channel_credentials(authority)) as channel:
        health = health_pb2_grpc.HealthStub(channel)
        with pytest.raises(grpc.RpcError) as caught:
            health.Check(health_pb2.HealthCheckRequest(), timeout=5)
        assert caught.value.code() == grpc.StatusCode.UNAVAILABLE


def test_plain_text_gets_nowhere(service: Service) -> None:
    with grpc.insecure_channel(f"localhost:{service.port}") as channel, pytest.raises(grpc.RpcError):
        health_pb2_grpc.HealthStub(channel).Check(health_pb2.HealthCheckRequest(), timeout=5)


def test_a_good_certificate_with_an_unknown_id_is_refused_by_name(service: Service) -> None:
    with pytest.raises(AccessError, match="owner/nobody is not known"):
        service.client("nobody").service_info()


def test_a_client_refuses_a_server_of_another_authority(service: Service, tmp_path: Path) -> None:
    from verifier.service.client import Identity
    from verifier.service.development import DevelopmentAuthority

    other = tmp_path / "other.pem"
    other.write_bytes(DevelopmentAuthority().pem())
    identity = service.certificates.identity("acme")
    with (
        VerifierClient(
            f"localhost:{service.port}", Identity(identity.certificate, identity.key, other), patience=0.0
        ) as client,
        pytest.raises(UnavailableError),
    ):
        client.service_info()


def test_an_owner_sees_nothing_of_another_owner(
    service: Service, owner: Owner, acme: VerifierClient, tmp_path: Path
) -> None:
    audit = owner.open_audit(acme)
    bundle = owner.prove(audit.nonce, tmp_path / "bundle")
    acme.submit_proof(audit.name, bundle)
    acme.wait_audit(audit.name)
    rival = service.client("rival")
    hidden: list[Callable[[], object]] = [
        lambda: rival.audit(audit.name),
        lambda: rival.wait_audit(audit.name, 5),
        lambda: rival.submit_proof(audit.name, bundle),
        lambda: rival.download(audit.name, artifacts.ARTIFACT_KIND_ATTESTATION),
        lambda: rival.download(audit.name, artifacts.ARTIFACT_KIND_PROOF_BUNDLE),
        lambda: rival.download(audit.commitment, artifacts.ARTIFACT_KIND_VALIDITY_PROOF),
    ]
    for call in hidden:
        with pytest.raises(NotFoundError):
            call()
    assert audit.name not in [row.name for row in rival.audits()]
    # nor that a file is there at all
    kind, digest = artifacts.ARTIFACT_KIND_COMMITMENT, acme.commitment(audit.commitment).commitment
    query = artifacts.QueryUploadRequest(kind=kind, digest=digest)
    assert rival._stub.QueryUpload(query, timeout=10).received == 0


def test_regulators_and_auditors_see_every_owner(service: Service, owner: Owner, acme: VerifierClient) -> None:
    audit = owner.open_audit(acme)
    for name in ("regulator", "auditor"):
        reader = service.client(name)
        assert reader.audit(audit.name).owner.endswith("/owner/acme")
        assert audit.commitment in [row.name for row in reader.commitments()]


def test_roles_do_only_what_is_theirs(service: Service, owner: Owner, acme: VerifierClient) -> None:
    commitment, policy = owner.register(acme), owner.policy.read_bytes()
    refused: list[Callable[[], object]] = [
        lambda: acme.publish_policy(policy),
        lambda: service.client("auditor").publish_policy(policy),
        lambda: service.client("auditor").create_audit("x", commitment, owner.policy_name),
        lambda: service.client("regulator").create_audit("x", commitment, owner.policy_name),
        lambda: service.client("auditor").upload(artifacts.ARTIFACT_KIND_PROOF_BUNDLE, owner.policy),
    ]
    for call in refused:
        with pytest.raises(AccessError, match="takes the role"):
            call()


@pytest.mark.parametrize(
    "name", ["", "audits", "audits/", "audits/../x", "audits/" + "g" * 32, "policies/" + "0" * 64, "audits/" + "0" * 33]
)
def test_a_name_that_is_none_is_refused(acme: VerifierClient, name: str) -> None:
    with pytest.raises(FormatError):
        acme.audit(name)


def test_refusals_carry_an_error_info(acme: VerifierClient) -> None:
    with pytest.raises(grpc.RpcError) as caught:
        acme._stub.GetAudit(wire.GetAuditRequest(name="audits/" + "0" * 32), timeout=10)
    from verifier.service.status import _reason

    assert caught.value.code() == grpc.StatusCode.NOT_FOUND and _reason(caught.value) == "NotFoundError"


def test_health_and_reflection_answer_known_callers(service: Service) -> None:
    certificate, key, authority = service.certificates.identity("auditor").read()
    credentials = grpc.ssl_channel_credentials(authority, key, certificate)
    with grpc.secure_channel(f"localhost:{service.port}", credentials) as channel:
        request = health_pb2.HealthCheckRequest(service="weightproof.v1.VerifierService")
        answer = health_pb2_grpc.HealthStub(channel).Check(request, timeout=10)
        assert answer.status == health_pb2.HealthCheckResponse.SERVING
        stub = reflection_pb2_grpc.ServerReflectionStub(channel)
        listing = reflection_pb2.ServerReflectionRequest(list_services="")
        answers = stub.ServerReflectionInfo(iter([listing]), timeout=10)
        names = {entry.name for answer in answers for entry in answer.list_services_response.service}
        assert "weightproof.v1.VerifierService" in names


def test_no_refusal_is_anything_but_named(acme: VerifierClient) -> None:
    for call in (
        lambda: acme.commitment("x"),
        lambda: acme.policy("y"),
        lambda: acme.download("z", artifacts.ARTIFACT_KIND_COMMITMENT),
    ):
        with pytest.raises(WeightproofError):
            call()
