"""Which paths may enter a layer."""

import pytest

from images.layers import names
from profiles.errors import WrongInput


@pytest.mark.parametrize("path", ["opt/stoker/a", "etc/x y/ü.txt", "usr/lib/ok", "a/...", "opt/b:c", "opt/日本/語"])
def test_ordinary_names_pass(path: str) -> None:
    assert names.checked(path) == path


@pytest.mark.parametrize(
    ("path", "reason"),
    [
        ("", "empty"),
        ("/etc/passwd", "absolute"),
        ("opt/../etc", "'..'"),
        ("./opt", "'.'"),
        ("opt//a", "empty"),
        ("opt/a/", "empty"),
        ("opt/a\\b", "backslash"),
        ("opt/a\0b", "control"),
        ("opt/a\nb", "control"),
        ("opt/\x7f", "control"),
        ("opt/.wh.a", "deletion"),
        (".wh..wh..opq", "deletion"),
        ("opt/\udcff", "UTF-8"),
        ("workspace/a", "hidden by a mount"),
        ("workspace", "hidden by a mount"),
        ("proc/x", "hidden by a mount"),
        ("bin/sh", "usr/bin"),
        ("lib64/ld.so", "usr/lib64"),
        ("opt/" + "n" * 256, "255"),
        ("opt/" + "n/" * 2100 + "x", "4096"),
    ],
)
def test_traps_are_refused_with_the_reason(path: str, reason: str) -> None:
    with pytest.raises(WrongInput, match="cannot enter a layer") as caught:
        names.checked(path)
    assert reason in caught.value.what
    assert not set(caught.value.what) & {"\0", "\n", "\x7f"}


@pytest.mark.parametrize("text", ["b", "../b", "./x/../y", "/usr/bin/python3", "../../opt"])
def test_links_inside_the_root_are_kept_as_they_are(text: str) -> None:
    assert names.checked_link("opt/stoker/a", text) == text


@pytest.mark.parametrize("text", ["", "../../../x", "x/../../../../y", "a\0b", "a\nb"])
def test_links_that_leave_the_root_are_refused(text: str) -> None:
    with pytest.raises(WrongInput, match="symbolic link"):
        names.checked_link("opt/stoker/a", text)
