"""What surrounds a command: here, another copy of the package in the current folder."""

from builders import ROOT

from lora_core.commands import cli, environment


def test_a_folder_with_a_package_of_its_own_is_named_if_another_one_runs(tmp_path, monkeypatch, capsys):
    (tmp_path / "lora_core").mkdir()
    (tmp_path / "lora_core" / "__init__.py").touch()
    monkeypatch.chdir(tmp_path)
    assert environment.other_package().startswith("this folder has a lora_core of its own, but the one in ")
    cli.main(["status"])
    assert capsys.readouterr().err.startswith("lora-core: this folder has a lora_core of its own")
    monkeypatch.chdir(ROOT)
    assert environment.other_package() is None
    monkeypatch.chdir(tmp_path.parent)
    assert environment.other_package() is None
