"""The generated classes are fresh, and speak Envoy's own field numbers."""

from __future__ import annotations

import dataclasses
import subprocess
import sys
from pathlib import Path

import grpc_tools
import pytest
from envoy_data_plane.envoy.config.core import v3 as core
from envoy_data_plane.envoy.service.ext_proc import v3 as ext_proc
from envoy_data_plane.envoy.type import v3 as envoy_type

from extproc._pb import core_pb2, ext_proc_pb2, http_status_pb2

ROOT = Path(__file__).parent.parent


def test_the_generated_files_are_fresh(tmp_path):
    includes = Path(grpc_tools.__file__).parent / "_proto"
    protos = sorted((ROOT / "protos").glob("*.proto"))
    subprocess.run(
        [
            sys.executable, "-m", "grpc_tools.protoc",
            f"-Iextproc/_pb={ROOT / 'protos'}", f"-I{includes}",
            f"--python_out={tmp_path}", f"--pyi_out={tmp_path}", *map(str, protos),
        ],
        check=True,
    )  # fmt: skip
    made = sorted((tmp_path / "extproc/_pb").iterdir())
    assert len(made) == 2 * len(protos)
    for file in made:
        kept = ROOT / "extproc/_pb" / file.name
        assert kept.read_text() == file.read_text(), f"{file.name}: run `make protos`"


OURS = [
    (module.DESCRIPTOR.message_types_by_name[name], theirs)
    for module, theirs in (
        (ext_proc_pb2, ext_proc),
        (core_pb2, core),
        (http_status_pb2, envoy_type),
    )
    for name in module.DESCRIPTOR.message_types_by_name
]


@pytest.mark.parametrize(("ours", "module"), OURS, ids=lambda x: getattr(x, "name", ""))
def test_field_numbers_are_those_of_envoys_api(ours, module):
    theirs = {
        field.name: field.metadata["betterproto"].number
        for field in dataclasses.fields(getattr(module, ours.name))
    }
    assert {f.name: f.number for f in ours.fields}.items() <= theirs.items()


def test_header_append_actions_are_those_of_envoys_api():
    ours = core_pb2.HeaderValueOption.HeaderAppendAction.items()
    theirs = {a.name: a.value for a in core.HeaderValueOptionHeaderAppendAction}
    assert dict(ours) == theirs
