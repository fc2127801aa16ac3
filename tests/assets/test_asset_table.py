import re
from pkgutil import resolve_name

import pytest

from daam_bench.assets import ASSETS
from daam_bench.assets.base import DebianPackage
from daam_bench.fingerprint import source_fingerprint


@pytest.mark.parametrize("name", ASSETS)
def test_asset_is_pinned_and_can_be_unpacked(name):
    asset = ASSETS[name]
    assert asset.title and asset.licence
    assert callable(resolve_name(asset.unpack))
    assert len(asset.pinned) == len(asset.archives) + len(asset.contents)
    assert all(re.fullmatch("[0-9a-f]{64}", sha256) for sha256 in asset.pinned)
    for archive in asset.archives:
        separator = "=" if isinstance(archive, DebianPackage) else "=="
        package, version = archive.label.split(separator)
        assert package and version[0].isdigit()


@pytest.mark.parametrize("name", [name for name in ASSETS if ASSETS[name].contents])
def test_pinned_files_lie_in_the_fetched_folder(name, real_asset):
    from daam_bench.assets.base import sha256_of

    for file, sha256 in ASSETS[name].contents.items():
        assert sha256_of(real_asset(name) / file) == sha256


def test_folder_is_a_room_with_a_fingerprint():
    assert len(source_fingerprint("assets")) == 64
