import random
import sys

import pytest

import methods
from benchmark import plugins
from benchmark.contracts import InputError


def test_a_plugin_runs_once_a_process(tmp_path, capsys):
    file = tmp_path / "mine.py"
    file.write_text("print('hello')")
    assert plugins.load([file]) == plugins.load([file]) == (file,)
    assert capsys.readouterr().out == "hello\n"


@pytest.mark.parametrize("name", ["random.py", "copy.py", "sklearn.py", "torch.py", "with blanks.py", "grün.py"])
def test_a_plugin_of_any_name_takes_nobodys_place(tmp_path, name):
    before = dict(sys.modules)
    file = tmp_path / name
    file.write_text("VALUE = 1")
    plugins.load([file])
    assert all(sys.modules[key] is module for key, module in before.items())
    assert random.random() < 1


def test_two_plugins_of_one_name_are_two(tmp_path, capsys):
    for folder in ("a", "b"):
        (tmp_path / folder).mkdir()
        (tmp_path / folder / "mine.py").write_text(f"print('{folder}')")
    plugins.load([tmp_path / "a" / "mine.py", tmp_path / "b" / "mine.py"])
    assert capsys.readouterr().out == "a\nb\n"


def test_a_plugin_that_is_none_or_breaks_is_named(tmp_path):
    with pytest.raises(InputError, match=r"nowhere\.py is no Python file; --plugin takes the path of one"):
        plugins.load([tmp_path / "nowhere.py"])
    (tmp_path / "notes.txt").write_text("")
    with pytest.raises(InputError, match=r"notes\.txt is no Python file"):
        plugins.load([tmp_path / "notes.txt"])
    broken = tmp_path / "broken.py"
    leaving = tmp_path / "leaving.py"
    leaving.write_text("raise SystemExit(0)")
    with pytest.raises(InputError, match=r"leaving\.py does not load: SystemExit: 0 \(line 1\)"):
        plugins.load([leaving])
    broken.write_text("x = 1\n1 / 0")
    for _ in range(2):  # and again: it is not taken for loaded
        with pytest.raises(InputError, match=r"broken\.py does not load: ZeroDivisionError: .* zero \(line 2\)"):
            plugins.load([broken])


def test_a_plugin_that_registers_nothing_is_told_so(tmp_path, monkeypatch):
    monkeypatch.setattr(methods, "ROWS", dict(methods.ROWS))
    file = tmp_path / "forgetful.py"
    file.write_text("VALUE = 1")
    for _ in range(2):
        with pytest.raises(InputError, match=r"forgetful\.py registers nothing: it must call methods\.register or"):
            plugins.load([file], methods.ROWS, {})
    file.write_text("import methods, fakes\nmethods.register('mine', fakes.Linear, title='Mine')")
    for _ in range(2):  # and again: it has registered already
        assert plugins.load([file], methods.ROWS, {}) == (file,)
    assert "mine" in methods.ROWS
