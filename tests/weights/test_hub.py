"""Models on the hub: addresses, what the client is asked, its errors in words."""

import sys
import types
from pathlib import Path

import pytest

from scmultimodal.schemas.errors import InputError
from scmultimodal.weights import folder, hub


class RepositoryNotFoundError(Exception):
    """As huggingface_hub names it."""


class GatedRepoError(RepositoryNotFoundError):
    """As huggingface_hub names it: one of the former, too."""


class LocalEntryNotFoundError(Exception):
    """As huggingface_hub names it."""


@pytest.fixture
def client(monkeypatch, tmp_path):
    """A hub that holds tmp_path, and keeps what it was asked."""
    asked = []

    def snapshot_download(repository, **how):
        asked.append((repository, how))
        return str(tmp_path)

    def create_repo(repository, **how):
        asked.append((repository, how))
        return f"the hub/{repository}"

    found = types.SimpleNamespace(
        asked=asked,
        snapshot_download=snapshot_download,
        create_repo=create_repo,
        upload_folder=lambda **how: asked.append(("upload", how)),
        get_token=lambda: "somebody",
    )
    monkeypatch.setitem(sys.modules, "huggingface_hub", found)
    return found


def refusing(error):
    def refuse(*_, **__):
        raise error

    return refuse


@pytest.mark.parametrize("kind", [str, Path])
def test_an_address_names_a_repository_and_a_revision(client, tmp_path, kind):
    assert hub.is_address(kind("hf://me/cells"))
    assert hub.download(kind("hf://me/cells")) == tmp_path
    hub.download(kind("hf://me/cells@v1.0"))
    patterns = {"allow_patterns": ["*.json", "*.safetensors"]}
    assert client.asked == [
        ("me/cells", patterns),
        ("me/cells", {**patterns, "revision": "v1.0"}),
    ]


@pytest.mark.parametrize("path", ["runs/demo", "me/cells", "/hf:/x", Path("hf")])
def test_a_path_is_no_address(path):
    assert not hub.is_address(path)


@pytest.mark.parametrize("address", ["hf://", "hf://cells", "hf://a/b/c", "hf://a/b@"])
def test_a_wrong_address_says_how_to_write_it(client, address):
    with pytest.raises(InputError, match=r"Write it as hf://owner/name"):
        hub.download(address)
    assert client.asked == []


def test_a_folder_is_found_by_its_address(client, tmp_path):
    with pytest.raises(InputError, match=r"is no model"):
        folder.find("hf://me/cells")
    for name in ("config.json", "model.safetensors"):
        (tmp_path / name).touch()
    assert folder.find("hf://me/cells") == tmp_path


def test_a_push_makes_a_private_repository_and_uploads(client, tmp_path):
    assert hub.push(tmp_path, "me/cells", "Cells") == "the hub/me/cells"
    upload = {
        "repo_id": "me/cells",
        "folder_path": tmp_path,
        "commit_message": "Cells",
    }
    made = ("me/cells", {"exist_ok": True, "private": True})
    assert client.asked == [made, ("upload", upload)]


def test_who_is_not_logged_in_is_told_so_before_anything(client, tmp_path):
    client.get_token = lambda: None
    with pytest.raises(InputError, match=r"asks you to be logged in\. .*hf auth login"):
        hub.push(tmp_path, "me/cells", "Cells")
    assert client.asked == []


def test_a_push_needs_an_owner(client):
    with pytest.raises(InputError, match=r"cells: is no repository.*owner/name"):
        hub.check_push("cells")


@pytest.mark.parametrize(
    ("error", "message"),
    [
        (RepositoryNotFoundError("404\nmore"), r"is not there, or is private"),
        (GatedRepoError("403"), r"asks for consent first"),
        (LocalEntryNotFoundError("no"), r"is not in the cache.*HF_HUB_OFFLINE"),
        (RuntimeError("odd\nRequest id 7"), r"could not be fetched \(odd\)"),
        (RuntimeError(""), r"could not be fetched \(RuntimeError\)"),
    ],
)
def test_errors_of_the_hub_are_one_line(client, error, message):
    client.snapshot_download = refusing(error)
    with pytest.raises(InputError, match=message) as caught:
        hub.download("hf://me/cells")
    assert "\n" not in str(caught.value)
    assert "me/cells" in str(caught.value)


def test_a_push_that_is_refused(client, tmp_path):
    error = RuntimeError("forbidden")
    error.response = types.SimpleNamespace(status_code=403)
    client.upload_folder = refusing(error)
    with pytest.raises(InputError, match=r"me/cells: refuses you"):
        hub.push(tmp_path, "me/cells", "Cells")


def test_without_the_extra(monkeypatch, tmp_path):
    monkeypatch.setitem(sys.modules, "huggingface_hub", None)
    for call in (
        lambda: hub.download("hf://me/cells"),
        lambda: hub.push(tmp_path, "me/cells", "Cells"),
    ):
        with pytest.raises(InputError, match=r"scmultimodal\[hub\]"):
            call()
