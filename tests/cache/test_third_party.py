"""Both formats open with plain xarray where this package cannot be imported."""

import json
import subprocess
import sys
import textwrap

from contracts.test_store_contract import fill, make_layout, values

READER = textwrap.dedent("""
    import json, sys, warnings
    warnings.simplefilter("error")
    class Refuse:
        def find_spec(self, name, *_):
            if name.split(".")[0] == "daam_bench":
                raise ImportError(name)
    sys.meta_path.insert(0, Refuse())
    import xarray
    found = {}
    engines = {"zarr": {"engine": "zarr", "consolidated": False}, "hdf5": {"engine": "h5netcdf"}}
    for key, options in engines.items():
        data = xarray.open_dataset(sys.argv[1 if key == "zarr" else 2], **options)
        names = ("sample", "label", "split", "group", "length", "layer", "feature")
        found[key] = {name: data[name].values.tolist() for name in names}
        found[key] |= {"embeddings": data.embeddings.values.tolist(), "dims": list(data.embeddings.dims)}
        found[key]["dataset"] = data.attrs["dataset"]
    print(json.dumps(found))
""")


def test_xarray_reads_equal_values_from_both_formats(tmp_path):
    paths = [str(fill(tmp_path, kind)) for kind in ("zarr", "hdf5")]
    command = [sys.executable, "-c", READER, *paths]
    found = json.loads(subprocess.run(command, capture_output=True, text=True, check=True).stdout)
    assert found["zarr"] == found["hdf5"]
    layout = make_layout()
    assert found["zarr"]["dims"] == ["sample", "layer", "feature"]
    assert found["zarr"]["sample"] == layout.sample_ids
    assert found["zarr"]["label"] == layout.labels
    assert found["zarr"]["group"] == layout.groups
    assert found["zarr"]["layer"] == [1, 2, 3, 4, 5]
    assert found["zarr"]["embeddings"] == values().tolist()
