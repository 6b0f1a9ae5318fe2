"""Where things are kept."""

from pathlib import Path

import pytest

from rgym_exp.config.paths import Home, cache_dir, login_app_dir, login_data_dir, login_token_file


def test_everything_of_a_node_lies_below_its_home(tmp_path: Path) -> None:
    home = Home(root=tmp_path, identity_path=None)
    places = [home.identity, home.config_file, home.logs, home.account_key, home.outbox, home.checkpoints, home.hub]
    assert all(place.is_relative_to(tmp_path) for place in places)
    assert home.identity == tmp_path / "swarm.pem"
    assert home.config_file == tmp_path / "configs" / "rg-swarm.yaml"


def test_home_is_the_flag_then_the_variable_then_here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    assert Home.locate(environ={}).root == tmp_path
    assert Home.locate(environ={"RL_SWARM_HOME": "/a"}).root == Path("/a")
    assert Home.locate("/b", environ={"RL_SWARM_HOME": "/a"}).root == Path("/b")
    assert Home.locate("deep", environ={}).root == tmp_path / "deep"


def test_the_identity_may_lie_elsewhere(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("IDENTITY_PATH", "/keys/mine.pem")
    assert Home(root=tmp_path).identity == Path("/keys/mine.pem")
    assert Home.locate(tmp_path, environ={"IDENTITY_PATH": "/keys/other.pem"}).identity == Path("/keys/other.pem")
    assert Home.locate(tmp_path, environ={}).identity == tmp_path / "swarm.pem"


def test_the_cache_follows_the_desktop_standard() -> None:
    assert cache_dir({"XDG_CACHE_HOME": "/c"}) == Path("/c/rl-swarm")
    assert cache_dir({}) == Path.home() / ".cache" / "rl-swarm"


def test_the_login_server_and_its_data_may_be_moved_together_or_apart() -> None:
    app = login_app_dir({})
    assert (app.name, (app.parent / "rgym_exp" / "config").is_dir()) == ("modal-login", True)
    assert login_token_file({}) == app / "temp-data" / "token"
    assert login_token_file({"LOGIN_APP_DIR": "/a"}) == Path("/a/temp-data/token")
    assert login_token_file({"LOGIN_APP_DIR": "/a"}, wallet="local") == Path("/a/temp-data/local/token")
    moved = {"LOGIN_APP_DIR": "/a", "LOGIN_DATA_DIR": "/d"}
    assert login_data_dir(moved, wallet="local") == Path("/d")
    assert (login_app_dir(moved), login_data_dir(moved)) == (Path("/a"), Path("/d"))
