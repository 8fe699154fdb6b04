"""Signed notes and checkpoints: the examples of the specifications, and notes that must be refused."""

from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from circuits.errors import FormatError, TrustError
from verifier.log.checkpoint import Checkpoint, open_checkpoint
from verifier.log.merkle import EMPTY_ROOT
from verifier.log.note import MAX_NOTE_BYTES, NoteSigner, VerifierKey, open_note, parse_note

# golang.org/x/mod/sumdb/note, package documentation and note_test.go
PETER = "PeterNeumann+c74f20a3+ARpc2QcUPDhMQegwxbzhKqiBfsVkmqq/LDE4izWy10TW"
PETER_SECRET = "PRIVATE+KEY+PeterNeumann+c74f20a3+AYEKFALVFGyNhPJEMzD1QIDr+Y7hfZx09iUvxdXHKDFz"
ENOCH = "EnochRoot+af0cfe78+ATtqJ7zOtqQtYqOo0CpvDXNlMhV3HeJDpjrASKGLWdop"
TEXT = "If you think cryptography is the answer to your problem,\nthen you don't know what your problem is.\n"
PETER_LINE = (
    "— PeterNeumann x08go/ZJkuBS9UG/SffcvIAQxVBtiFupLLr8pAcElZInNIuGUgYN1FFYC2pZSNXgKvqfqdngotpRZb6KE6RyyBwJnAM=\n"
)
ENOCH_LINE = (
    "— EnochRoot rwz+eBzmZa0SO3NbfRGzPCpDckykFXSdeX+MNtCOXm2/5n2tiOHp+vAF1aGrQ5ovTG01oOTGwnWLox33WWd1RvMc+QQ=\n"
)
# c2sp.org/signed-note, section "Example"
SPEC = "example.com/foo+530d903a+AekyeRrm56hApGFkyQR4ZCbV54Id2LKaANYcrnKv3U2k"
SPEC_NOTE = (
    "This is an example message.\n\n"
    "— example.com/foo Uw2QOkn8srV1yJGh2VYRlL1Tnagv1YEq6TfXppzi2ONncAlTgK7Ztg1ERYNZXsYjOBH3mFXmRKuwHjG1Yu72IneyaQM=\n"
)
# c2sp.org/tlog-checkpoint; its key is not published
SPEC_CHECKPOINT = "example.com/behind-the-sofa\n20852163\nCsUYapGGPo4dkMgIAUqom/Xajj7h2fB2MPA3j2jxq2I=\n"


def test_published_notes_open() -> None:
    assert open_note(SPEC_NOTE.encode(), [VerifierKey.parse(SPEC)]) == "This is an example message.\n"
    peter, enoch = VerifierKey.parse(PETER), VerifierKey.parse(ENOCH)
    note = (TEXT + "\n" + PETER_LINE + ENOCH_LINE).encode()
    for keys in ([peter], [enoch], [peter, enoch], [VerifierKey.parse(SPEC), enoch]):
        assert open_note(note, keys) == TEXT


def test_signing_gives_the_published_bytes() -> None:
    signer = NoteSigner.parse(PETER_SECRET)
    assert signer.sign(TEXT) == (TEXT + "\n" + PETER_LINE).encode()
    assert str(signer.key) == PETER
    assert signer.secret() == PETER_SECRET


def test_the_published_checkpoint_is_read_and_written() -> None:
    checkpoint = Checkpoint.from_text(SPEC_CHECKPOINT)
    assert (checkpoint.origin, checkpoint.size) == ("example.com/behind-the-sofa", 20_852_163)
    assert checkpoint.to_text() == SPEC_CHECKPOINT


def test_no_changed_note_opens() -> None:
    key = VerifierKey.parse(SPEC)
    note = SPEC_NOTE.encode()
    for position in range(len(note)):
        for changed in (note[:position] + bytes([note[position] ^ 1]) + note[position + 1 :], note[:position]):
            with pytest.raises((FormatError, TrustError)):
                open_note(changed, [key])
    with pytest.raises(TrustError, match=r"example\.com/foo"):
        open_note(note, [])


def test_no_mangled_key_is_read() -> None:
    for start in range(len(SPEC)):
        for end in range(start, len(SPEC)):
            if end - start < len(SPEC):
                with pytest.raises(FormatError):
                    VerifierKey.parse(SPEC[start:end])
    for position, letter in enumerate(SPEC):
        with pytest.raises(FormatError):
            VerifierKey.parse(SPEC[:position] + chr(ord(letter) + 1) + SPEC[position + 1 :])


def test_a_secret_key_is_never_quoted() -> None:
    for secret in (PETER_SECRET[:-1], PETER_SECRET.replace("c74f20a3", "c74f20a4"), PETER_SECRET + "!"):
        with pytest.raises(FormatError) as caught:
            NoteSigner.parse(secret)
        assert "YEKFALV" not in str(caught.value)


def test_keys_are_read_from_files(tmp_path: Path) -> None:
    (tmp_path / "public").write_text(PETER + "\n")
    (tmp_path / "secret").write_text(PETER_SECRET + "\n")
    (tmp_path / "noise").write_bytes(b"\xff" * 40)
    assert str(VerifierKey.read(tmp_path / "public")) == PETER
    assert NoteSigner.read(tmp_path / "secret").key == VerifierKey.parse(PETER)
    for name in ("noise", "secret", "absent"):
        with pytest.raises(FormatError):
            VerifierKey.read(tmp_path / name)


@pytest.mark.parametrize(
    "note",
    [
        b"",
        b"\n\n",
        b"text\n",
        b"text\n\n",
        b"text\n\nno signature line\n",
        b"\xff\xfe\n\n",
        ("text\r\n\n" + PETER_LINE).encode(),
        ("text\x00\n\n" + PETER_LINE).encode(),
        ("text\n\n" + PETER_LINE[:-1]).encode(),
        ("text\n\n" + PETER_LINE.replace("—", "-")).encode(),
        ("text\n\n" + PETER_LINE.replace("AM=", "AN=")).encode(),
        ("text\n\n" + PETER_LINE.replace("PeterNeumann", "Peter+Neumann")).encode(),
        "text\n\n— name AAAA\n".encode(),
        ("text\n\n" + PETER_LINE * 101).encode(),
        b"a" * (MAX_NOTE_BYTES + 1),
    ],
)
def test_malformed_notes(note: bytes) -> None:
    with pytest.raises(FormatError):
        parse_note(note)


def test_sixteen_foreign_signatures_are_no_obstacle() -> None:
    foreign = "".join(f"— witness{i}.example {'A' * 400}\n" for i in range(16))
    assert open_note((TEXT + "\n" + foreign + PETER_LINE).encode(), [VerifierKey.parse(PETER)]) == TEXT


@pytest.mark.parametrize("text", ["no newline at the end", "a\tb\n", "carriage\r\n"])
def test_what_is_no_text_is_not_signed(text: str) -> None:
    with pytest.raises(FormatError):
        NoteSigner.parse(PETER_SECRET).sign(text)


@pytest.mark.parametrize("name", ["", "with space", "with+plus", "no\u00a0break", "line\n"])
def test_names_that_are_none(name: str) -> None:
    with pytest.raises(FormatError):
        NoteSigner.generate(name)


@pytest.mark.parametrize(
    ("old", "new"),
    [
        ("20852163", "020852163"),
        ("20852163", "-1"),
        ("20852163", "+1"),
        ("20852163", "1_0"),
        ("20852163", "٣"),
        ("20852163", "0"),
        ("20852163", "9" * 19),
        ("20852163", ""),
        ("example.com/behind-the-sofa", ""),
        ("CsUYapGGPo4dkMgIAUqom/Xajj7h2fB2MPA3j2jxq2I=", "CsUYapGGPo4dkMgIAUqom/Xajj7h2fB2MPA3j2jxq2J="),
        ("CsUYapGGPo4dkMgIAUqom/Xajj7h2fB2MPA3j2jxq2I=", "CsUYapGG"),
        ("q2I=\n", "q2I="),
        ("q2I=\n", "q2I=\n\n"),
        ("q2I=\n", ""),
    ],
)
def test_malformed_checkpoints(old: str, new: str) -> None:
    with pytest.raises(FormatError):
        Checkpoint.from_text(SPEC_CHECKPOINT.replace(old, new))


def test_extension_lines_of_other_logs_are_read_past() -> None:
    assert Checkpoint.from_text(SPEC_CHECKPOINT + "more\n") == Checkpoint.from_text(SPEC_CHECKPOINT)


def test_a_checkpoint_is_of_the_log_whose_key_is_trusted() -> None:
    signer = NoteSigner.generate("one.example/log")
    assert open_checkpoint(Checkpoint("one.example/log", 0, EMPTY_ROOT).sign(signer), signer.key).size == 0
    with pytest.raises(TrustError, match="other"):
        open_checkpoint(Checkpoint("other.example/log", 0, EMPTY_ROOT).sign(signer), signer.key)
    with pytest.raises(TrustError):
        open_checkpoint(Checkpoint("one.example/log", 0, EMPTY_ROOT).sign(NoteSigner.generate("x")), signer.key)


@given(st.binary(max_size=300))
def test_arbitrary_bytes_raise_named_errors_only(data: bytes) -> None:
    with pytest.raises((FormatError, TrustError)):
        open_checkpoint(data, VerifierKey.parse(SPEC))
