"""What the credentials of a file say, and whether they hold."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Literal

from ..errors import InputMissingError, MediaError, SigningError
from ..files import check_input
from .formats import ANY_BYTES, sidecar_of, sniff
from .record import MODELS_KEY, SYNTHETIC, TOOL, Place
from .sdk import SETTINGS, load_sdk

__all__ = ["Action", "Credentials", "Parent", "Sidecar", "read_credentials", "sidecar_bytes"]

State = Literal["valid", "trusted", "invalid"]

_UNTRUSTED = "signingCredential.untrusted"
# What one finds of credentials that cannot be read any more: the label of every C2PA claim.
_REMAINS = b"c2pa.claim"
_CHUNK = 1 << 20  # bytes searched at a time
# Certificates for e-mail and for documents, as C2PA allows (2.1, section 14.4.1).
_TRUSTED_USES = "1.3.6.1.5.5.7.3.4\n1.3.6.1.5.5.7.3.36\n"


@dataclass(frozen=True, kw_only=True)
class Action:
    """One thing that was done, as the signer of a manifest says.

    Attributes:
        action: C2PA's name of it.
        tool: name and version of the program, or None.
        when: in ISO 8601, by the clock of whoever did it, or None.
        source_type: address of the IPTC term, or None.
        description: in words, or None.
        models: that ffswap used.
        own: whether it was done to the file itself, and not to what it was made from.
    """

    action: str
    tool: str | None
    when: str | None
    source_type: str | None
    description: str | None
    models: Sequence[str]
    own: bool

    @property
    def synthetic(self) -> bool:
        """Whether it put something into the file that no camera has seen there."""
        if self.source_type is None:
            return False
        by_us = self.tool is not None and self.tool.split(" ")[0] == TOOL
        return by_us or self.source_type in SYNTHETIC


@dataclass(frozen=True, kw_only=True)
class Parent:
    """What a file was made from.

    Attributes:
        relationship: C2PA's name of it, such as ``parentOf``.
        format: MIME type, or None.
        signer: of its own credentials, or None where it had none.
        problems: what was wrong with them when they were taken over.
    """

    relationship: str
    format: str | None
    signer: str | None
    problems: Sequence[str]


@dataclass(frozen=True, kw_only=True)
class Credentials:
    """What was found.

    Attributes:
        place: in the file, or beside it.
        file: that holds them.
        state: ``trusted``: they hold, and a root of the caller's vouches for the signer; ``valid``: they
            hold, and who the signer is remains open; ``invalid``.
        tampered: the file or its credentials were changed after signing.
        problems: why they are invalid.
        signer: name in the certificate, or None.
        organisation: in the certificate, or None.
        time: of signing, as a time-stamp authority confirms, or None.
        tool: name and version of the program that wrote them, or None.
        actions: what was done, in the order of the manifests, the file's own first.
        parents: what the file was made from.
        manifests: how many there are, those of the parents included.
    """

    place: Place
    file: str
    state: State
    tampered: bool = False
    problems: Sequence[str] = ()
    signer: str | None = None
    organisation: str | None = None
    time: str | None = None
    tool: str | None = None
    actions: Sequence[Action] = ()
    parents: Sequence[Parent] = ()
    manifests: int = 0

    @property
    def synthetic(self) -> bool:
        """Whether they say that a machine made something in the file, now or before."""
        return any(action.synthetic for action in self.actions)

    def as_dict(self) -> dict[str, Any]:
        """Plain types only, `synthetic` included."""
        return {**asdict(self), "synthetic": self.synthetic}


@dataclass(frozen=True, kw_only=True)
class Sidecar:
    """Credentials that lie beside a file, for those of what is made from it.

    Attributes:
        data: as they are.
        label: of the active manifest.
        validation_results: of c2pa.
    """

    data: bytes
    label: str
    validation_results: Mapping[str, Any]


def sidecar_bytes(path: Path) -> Sidecar | None:
    """The credentials beside a file; None where there are none that can be read."""
    beside = sidecar_of(path)
    if not beside.is_file():
        return None
    sdk = load_sdk()
    try:
        store, data = _read_store(sdk, path, beside, SETTINGS), beside.read_bytes()
    except (sdk.C2paError, OSError):
        return None
    return Sidecar(
        data=data, label=store["active_manifest"], validation_results=store["validation_results"]
    )


def read_credentials(path: Path, trust: Path | None = None) -> Credentials | None:
    """Read and check the credentials in a file, or else those beside it.

    Nothing is fetched from the network.

    Args:
        path: of the file.
        trust: PEM file with certificates of authorities that the caller trusts, or None.

    Returns:
        What was found, or None.

    Raises:
        InputMissingError: a file is not there.
        MediaError: the file is empty or may not be read.
        SigningError: the C2PA library does not load, or `trust` is no such file.
    """
    file = check_input(path, "a video or a picture", MediaError)
    sdk, settings = load_sdk(), _settings(trust)
    kind, beside = sniff(file), sidecar_of(file)
    if kind is not None:
        try:
            return _described(_read_store(sdk, file, None, settings), "embedded", file)
        except sdk.C2paError.ManifestNotFound:
            pass
        except sdk.C2paError as error:
            if _has_remains(file):
                return _unreadable("embedded", file, str(error))
    if beside.is_file():
        try:
            return _described(_read_store(sdk, file, beside, settings), "sidecar", beside)
        except sdk.C2paError as error:
            return _unreadable("sidecar", beside, str(error))
    if kind is not None and _has_remains(file):
        return _unreadable("embedded", file, "what is left of them cannot be read")
    return None


def _settings(trust: Path | None) -> dict[str, Any]:
    if trust is None:
        return SETTINGS
    try:
        anchors = check_input(trust, "certificates in PEM", MediaError).read_text("ascii")
    except InputMissingError:
        raise
    except (OSError, ValueError) as error:
        raise SigningError(f"holds no certificates in PEM ({error})", file=trust) from error
    if "-----BEGIN CERTIFICATE-----" not in anchors:
        raise SigningError("holds no certificates in PEM", file=trust)
    return {
        **SETTINGS,
        "verify": {**SETTINGS["verify"], "verify_trust": True},
        "trust": {"trust_anchors": anchors, "trust_config": _TRUSTED_USES},
    }


def _read_store(
    sdk: Any, file: Path, beside: Path | None, settings: Mapping[str, Any]
) -> dict[str, Any]:
    """What c2pa says about a file, with the credentials in it or in another."""
    with ExitStack() as stack:
        data = stack.enter_context(file.open("rb"))
        context = stack.enter_context(sdk.Context.from_dict(settings))
        if beside is None:
            reader = sdk.Reader(sniff(file), data, context=context)
        else:
            reader = sdk.Reader(ANY_BYTES, data, beside.read_bytes(), context=context)
        store: dict[str, Any] = json.loads(stack.enter_context(reader).json())
    return store


def _has_remains(file: Path) -> bool:
    tail = b""
    with file.open("rb") as data:
        while chunk := data.read(_CHUNK):
            if _REMAINS in tail + chunk:
                return True
            tail = chunk[-len(_REMAINS) :]
    return False


def _unreadable(place: Place, file: Path, why: str) -> Credentials:
    problem = f"they are damaged ({why})"
    return Credentials(
        place=place, file=str(file), state="invalid", tampered=True, problems=(problem,)
    )


def _described(store: Mapping[str, Any], place: Place, file: Path) -> Credentials:
    active = store["manifests"][store["active_manifest"]]
    results = store.get("validation_results", {})
    failures = _failures(results.get("activeManifest", {}))
    state: State = "invalid"
    if store.get("validation_state") in ("Valid", "Trusted"):
        state = "trusted" if store["validation_state"] == "Trusted" else "valid"
    signature = active.get("signature_info", {})
    return Credentials(
        place=place,
        file=str(file),
        state=state,
        tampered=any(".mismatch" in problem for problem in failures),
        problems=failures if state == "invalid" else (),
        signer=signature.get("common_name"),
        organisation=signature.get("issuer"),
        time=signature.get("time"),
        tool=_tool(active),
        actions=tuple(_actions(store)),
        parents=tuple(_parents(store, active, results)),
        manifests=len(store["manifests"]),
    )


def _failures(results: Mapping[str, Any]) -> tuple[str, ...]:
    """Everything that failed, but for the signer's being unknown."""
    found = (one for one in results.get("failure", ()) if one["code"] != _UNTRUSTED)
    return tuple(f"{one['code']}: {one.get('explanation', '')}".rstrip(": ") for one in found)


def _tool(manifest: Mapping[str, Any]) -> str | None:
    for one in manifest.get("claim_generator_info") or ():
        return f"{one.get('name', '')} {one.get('version', '')}".strip()
    return manifest.get("claim_generator")


def _actions(store: Mapping[str, Any]) -> Iterator[Action]:
    active = store["active_manifest"]
    labels = [active, *(label for label in store["manifests"] if label != active)]
    for label in labels:
        manifest = store["manifests"][label]
        for assertion in manifest.get("assertions", ()):
            if assertion["label"].startswith("c2pa.actions"):
                for one in assertion["data"].get("actions", ()):
                    yield _action(one, _tool(manifest), own=label == active)


def _action(one: Mapping[str, Any], tool: str | None, *, own: bool) -> Action:
    agent = one.get("softwareAgent")
    if isinstance(agent, Mapping):
        agent = f"{agent.get('name', '')} {agent.get('version', '')}".strip()
    parameters = one.get("parameters") or {}
    models = parameters.get(MODELS_KEY)
    return Action(
        action=str(one.get("action", "")),
        tool=agent or tool,
        when=one.get("when"),
        source_type=one.get("digitalSourceType"),
        description=one.get("description") or parameters.get("description"),
        models=tuple(map(str, models)) if isinstance(models, list) else (),
        own=own,
    )


def _parents(
    store: Mapping[str, Any], active: Mapping[str, Any], results: Mapping[str, Any]
) -> Iterator[Parent]:
    for one in active.get("ingredients", ()):
        manifest = store["manifests"].get(one.get("active_manifest"), {})
        deltas = (
            delta["validationDeltas"]
            for delta in results.get("ingredientDeltas") or ()
            if str(delta.get("ingredientAssertionURI", "")).endswith(f"/{one.get('label')}")
        )
        was = (one.get("validation_results") or {}).get("activeManifest", {})
        problems = [*_failures(was), *(text for delta in deltas for text in _failures(delta))]
        yield Parent(
            relationship=str(one.get("relationship", "")),
            format=one.get("format"),
            signer=manifest.get("signature_info", {}).get("common_name") if manifest else None,
            problems=tuple(dict.fromkeys(problems)),
        )
