"""The images and the compose file, read: what they promise, and that what they name exists. No engine is needed."""

from __future__ import annotations

import importlib
import json
import re
import shlex
import tomllib
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import click
import pytest
import yaml

from prover.service.settings import ProverSettings

ROOT = Path(__file__).resolve().parents[2]
DOCKER = ROOT / "docker"
DOCKERFILES = sorted(DOCKER.glob("*.Dockerfile"))
COMPOSE: dict[str, Any] = yaml.safe_load((DOCKER / "compose.yaml").read_text())
SERVICES: dict[str, dict[str, Any]] = COMPOSE["services"]
PROGRAMS = {"weightproof-prover": "prover.cli", "weightproof-verifier": "verifier.cli"}
SECRET_WORDS = re.compile("PASSW|SECRET|TOKEN|CREDENTIAL|KEY|PASS$", re.IGNORECASE)
PINNED = re.compile(r"[a-z/]+:\d+\.\d+(\.\d+)?-[a-z-]+")


@dataclass(frozen=True)
class Instruction:
    """One instruction of a Dockerfile, continuation lines joined."""

    name: str
    text: str

    @property
    def words(self) -> list[str]:
        return [word for word in self.text.split() if not word.startswith("--")]

    @property
    def command(self) -> list[str]:
        """The exec form: a JSON array, behind options and, in a HEALTHCHECK, behind CMD."""
        parsed: list[str] = json.loads(self.text[self.text.index("[") :])
        return parsed


def instructions(path: Path) -> list[Instruction]:
    lines = [line for line in path.read_text().splitlines() if line.strip() and not line.lstrip().startswith("#")]
    joined = re.sub(r"\\\n\s*", "", "\n".join(lines)).splitlines()
    return [Instruction(*line.split(None, 1)) for line in joined]


def named(path: Path, name: str) -> list[Instruction]:
    return [instruction for instruction in instructions(path) if instruction.name == name]


def last(path: Path, name: str) -> Instruction:
    return named(path, name)[-1]


def stages(path: Path) -> list[list[Instruction]]:
    found: list[list[Instruction]] = []
    for instruction in instructions(path):
        if instruction.name == "FROM":
            found.append([])
        if found:
            found[-1].append(instruction)
    return found


def require_command(words: list[str]) -> None:
    """Assert that the program has this subcommand, and that every option in `words` is one of its."""
    entry: click.Command = importlib.import_module(PROGRAMS[words[0]]).main
    rest, options = words[1:], {option for parameter in entry.params for option in parameter.opts}
    while rest:
        word = rest.pop(0)
        if word.startswith("--"):
            assert word in options, f"{shlex.join(words)}: there is no option {word}"
            if rest and not rest[0].startswith("--"):
                rest.pop(0)
        elif isinstance(entry, click.Group):
            assert word in entry.commands, f"{shlex.join(words)}: there is no command {word}"
            entry = entry.commands[word]
            options = {option for parameter in entry.params for option in parameter.opts}
    assert not isinstance(entry, click.Group), f"{shlex.join(words)}: which command?"


# Images


def test_there_are_two_images_and_compose_builds_them() -> None:
    built = {service["build"]["dockerfile"] for service in SERVICES.values() if "build" in service}
    assert built == {str(path.relative_to(ROOT)) for path in DOCKERFILES}
    for service in SERVICES.values():
        if "build" in service:
            assert (DOCKER / service["build"]["context"]).resolve() == ROOT


@pytest.mark.parametrize("path", DOCKERFILES, ids=lambda path: path.stem)
def test_base_images_are_pinned_and_the_same_in_all_stages(path: Path) -> None:
    bases = {instruction.words[0] for instruction in named(path, "FROM")}
    assert len(stages(path)) == 2 and len(bases) == 1
    assert all(PINNED.fullmatch(base) for base in bases)
    requires: str = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["requires-python"]
    version = re.search(r":(\d+\.\d+)", bases.pop())
    assert version is not None and requires == f">={version[1]}"


@pytest.mark.parametrize("path", DOCKERFILES, ids=lambda path: path.stem)
def test_what_is_copied_exists_and_is_not_ignored(path: Path) -> None:
    allowed = re.findall(r"^!(.+)$", (ROOT / ".dockerignore").read_text(), re.MULTILINE)
    copies = [one for one in named(path, "COPY") if "--from=" not in one.text]
    sources = [source for copy in copies for source in copy.words[:-1]]
    assert sources and set(sources) <= set(allowed)
    assert [source for source in sources if not (ROOT / source).exists()] == []


def test_the_context_of_the_images_is_a_list_of_what_is_needed() -> None:
    lines = [line for line in (ROOT / ".dockerignore").read_text().splitlines() if line and line[0] != "#"]
    assert lines[0] == "*"
    assert {"**/*.key", "**/*.pem", "**/*.secret"} <= set(lines)


@pytest.mark.parametrize("path", DOCKERFILES, ids=lambda path: path.stem)
def test_packages_are_pinned_by_the_constraints(path: Path) -> None:
    build, final = stages(path)
    assert any(one.name == "ENV" and "PIP_CONSTRAINT=/src/constraints.txt" in one.text for one in build)
    assert any(one.name == "COPY" and "constraints.txt" in one.words for one in build)
    assert not [one for one in final if "pip" in one.text.split()]


@pytest.mark.parametrize("path", DOCKERFILES, ids=lambda path: path.stem)
def test_an_image_runs_as_a_numeric_user_and_stops_when_it_is_told(path: Path) -> None:
    final = stages(path)[-1]
    assert re.fullmatch(r"[1-9]\d{3,}:[1-9]\d{3,}", last(path, "USER").text)
    assert [one.text for one in final if one.name == "STOPSIGNAL"] == ["SIGTERM"]
    assert [one for one in final if one.name == "HEALTHCHECK"]
    version = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["version"]
    assert f'org.opencontainers.image.version="{version}"' in last(path, "LABEL").text


@pytest.mark.parametrize("path", DOCKERFILES, ids=lambda path: path.stem)
def test_no_secret_is_in_the_environment_of_an_image(path: Path) -> None:
    for instruction in instructions(path):
        if instruction.name in ("ENV", "ARG"):
            assert not SECRET_WORDS.search(instruction.text), instruction.text


def test_the_verifiers_image_has_nothing_of_the_prover() -> None:
    path = DOCKER / "verifier.Dockerfile"
    text = " ".join(one.text for one in instructions(path))
    assert "COPY prover" not in path.read_text() and "[prover]" not in text
    assert not re.search(r"torch|numba|triton|gcc|build-essential", text)


def test_the_provers_image_keeps_its_kernels_in_a_volume() -> None:
    """Set in the environment, and found there by the code that compiles them: beside the package it cannot write."""
    path = DOCKER / "prover.Dockerfile"
    environment = dict(word.split("=", 1) for word in last(path, "ENV").words)
    assert environment["XDG_CACHE_HOME"] in last(path, "VOLUME").command
    assert "NUMBA_CACHE_DIR" not in environment
    mounted = {volume.split(":")[1] for volume in SERVICES["prover"]["volumes"] if isinstance(volume, str)}
    assert set(last(path, "VOLUME").command) == mounted


@pytest.mark.parametrize("path", DOCKERFILES, ids=lambda path: path.stem)
def test_the_commands_of_an_image_are_ours(path: Path) -> None:
    start = last(path, "ENTRYPOINT").command + last(path, "CMD").command
    check = last(path, "HEALTHCHECK").command
    for words in (start, check):
        if words[0] in PROGRAMS:
            require_command(words)
        else:
            assert words[:2] == ["python", "-c"]
            compile(words[2], "healthcheck", "exec")


# Compose


@pytest.mark.parametrize("name", SERVICES)
def test_a_container_can_do_little(name: str) -> None:
    service = SERVICES[name]
    assert service["read_only"] is True
    assert service["cap_drop"] == ["ALL"] and "cap_add" not in service and "privileged" not in service
    assert service["security_opt"] == ["no-new-privileges:true"]
    assert int(service["user"].split(":")[0]) > 0
    assert not {"network_mode", "pid", "ipc", "devices"} & set(service)
    assert all("noexec" in entry for entry in service["tmpfs"] if entry.startswith("/tmp"))
    assert set(service["deploy"]["resources"]["limits"]) == {"cpus", "memory", "pids"}


@pytest.mark.parametrize("name", SERVICES)
def test_an_image_is_pinned(name: str) -> None:
    service = SERVICES[name]
    version = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["version"]
    if "build" in service:
        assert service["image"] == f"weightproof-{name}:{version}"
        assert last(ROOT / service["build"]["dockerfile"], "USER").text == service["user"]
    else:
        assert PINNED.fullmatch(service["image"])


@pytest.mark.parametrize("name", SERVICES)
def test_secrets_are_files_and_none_is_in_the_environment(name: str) -> None:
    for key, value in SERVICES[name].get("environment", {}).items():
        assert not SECRET_WORDS.search(key) or (key.endswith("_FILE") and str(value).startswith("/run/secrets/"))
    assert set(SERVICES[name]["secrets"]) <= set(COMPOSE["secrets"])


def test_secrets_come_from_a_folder_that_git_and_images_ignore() -> None:
    files = [Path(secret["file"]) for secret in COMPOSE["secrets"].values()]
    assert all(file.parts[0] == "deployment" for file in files)
    assert "/docker/deployment/" in (ROOT / ".gitignore").read_text().splitlines()
    assert {name for service in SERVICES.values() for name in service["secrets"]} == set(COMPOSE["secrets"])


def test_a_private_key_is_seen_by_one_container() -> None:
    for secret in COMPOSE["secrets"]:
        if secret.endswith((".key", ".password")) or secret == "pgpass":
            assert sum(secret in service["secrets"] for service in SERVICES.values()) == 1, secret


def test_the_prover_publishes_nothing_and_only_the_verifier_reaches_the_database() -> None:
    assert {name for name, service in SERVICES.items() if "ports" in service} == {"verifier"}
    assert SERVICES["database"]["networks"] == ["storage"] and COMPOSE["networks"]["storage"]["internal"] is True
    assert {name for name, service in SERVICES.items() if "storage" in service["networks"]} == {"database", "verifier"}
    assert set(SERVICES["prover"]["networks"]).isdisjoint({"storage"})


def test_a_service_waits_for_what_it_needs_to_be_healthy() -> None:
    for name, service in SERVICES.items():
        for other, condition in service.get("depends_on", {}).items():
            assert condition == {"condition": "service_healthy"}, name
            assert "healthcheck" in SERVICES[other] or "build" in SERVICES[other]


def test_models_are_mounted_read_only() -> None:
    binds = [volume for volume in SERVICES["prover"]["volumes"] if isinstance(volume, dict)]
    assert {bind["target"] for bind in binds} == {"/models", "/etc/weightproof/prover.toml"}
    assert all(bind["read_only"] for bind in binds)


def test_the_provers_configuration_names_what_is_mounted() -> None:
    settings = tomllib.loads((DOCKER / "prover.toml").read_text())
    host, _, port = settings["verifier"]["address"].partition(":")
    assert host in SERVICES and f"{port}:{port}" in SERVICES[host]["ports"]
    files = [value for value in settings["verifier"].values() if value.startswith("/run/secrets/")]
    assert {Path(file).name for file in files} == set(SERVICES["prover"]["secrets"])
    assert settings["models"] == ["/models"]


def test_the_provers_configuration_is_one() -> None:
    settings = ProverSettings.read(DOCKER / "prover.toml")
    check = last(DOCKER / "prover.Dockerfile", "HEALTHCHECK").text
    assert f"'{settings.socket_path}'" in check


def test_the_healthcheck_of_the_verifier_uses_files_that_it_has() -> None:
    check = last(DOCKER / "verifier.Dockerfile", "HEALTHCHECK").command
    files = {Path(word).name for word in check if word.startswith("/run/secrets/")}
    assert files <= set(SERVICES["verifier"]["secrets"])


# README


def test_the_commands_of_the_readme_exist() -> None:
    text = re.sub(r"\\\n\s*", "", (DOCKER / "README.md").read_text())
    lines = [line.strip() for line in text.splitlines() if line.startswith("    ")]
    starts = ("docker compose run --rm --no-deps verifier ", "weightproof-verifier ")
    commands = [shlex.split(line.replace(starts[0], starts[1], 1)) for line in lines if line.startswith(starts)]
    assert {"dev", "init"} <= {command[1] for command in commands}
    for command in commands:
        require_command(command)
