"""What a launcher of several processes says is taken over whole, so that no library acts on it as well."""

from __future__ import annotations

import pytest

from rgym_exp.config.launch import Launch, take_launch
from rgym_exp.errors import ConfigError


def launched(**more: str) -> dict[str, str]:
    return {"RANK": "3", "WORLD_SIZE": "4", "LOCAL_RANK": "1", "LOCAL_WORLD_SIZE": "2", "MASTER_ADDR": "host", **more}


def test_a_process_on_its_own_has_no_launch() -> None:
    assert take_launch({}) is None
    assert take_launch({"RANK": "0", "WORLD_SIZE": "1", "LOCAL_RANK": "0", "LOCAL_WORLD_SIZE": "1"}) is None


def test_the_place_is_read_and_taken_away_but_not_where_the_processes_meet() -> None:
    environ = launched()
    assert take_launch(environ) == Launch(rank=3, size=4, local_size=2)
    assert environ == {"MASTER_ADDR": "host", "CUDA_VISIBLE_DEVICES": "1"}


@pytest.mark.parametrize(
    ("visible", "mine"),
    [("0,1", "1"), ("4, 6", "6"), ("GPU-a,GPU-b,GPU-c", "GPU-b"), ("0", "-1"), ("", ""), ("-1", "-1")],
)
def test_every_process_sees_the_gpu_that_is_its_own_and_no_other(visible: str, mine: str) -> None:
    environ = launched(CUDA_VISIBLE_DEVICES=visible)
    take_launch(environ)
    assert environ["CUDA_VISIBLE_DEVICES"] == mine


def test_a_process_on_its_own_sees_one_gpu() -> None:
    environ = {"CUDA_VISIBLE_DEVICES": "2,3"}
    take_launch(environ)
    assert environ["CUDA_VISIBLE_DEVICES"] == "2"


def test_accelerates_cpu_flag_means_ours() -> None:
    environ = launched(ACCELERATE_USE_CPU="True")
    take_launch(environ)
    assert environ["CPU_ONLY"] == "true"


def test_of_accelerates_own_settings_none_overrides_the_configuration() -> None:
    environ = launched(ACCELERATE_MIXED_PRECISION="fp16", ACCELERATE_DYNAMO_BACKEND="INDUCTOR")
    take_launch(environ)
    assert not [name for name in environ if name.startswith("ACCELERATE_")]


@pytest.mark.parametrize(("variable", "name"), [("ACCELERATE_USE_FSDP", "FSDP"), ("ACCELERATE_USE_DEEPSPEED", "Deep")])
def test_launchers_that_shard_the_model_are_refused(variable: str, name: str) -> None:
    with pytest.raises(ConfigError, match=name):
        take_launch(launched(**{variable: "true"}))
