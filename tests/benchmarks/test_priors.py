"""`python -m benchmarks.priors`: a column for each size of each prior, and for each only one."""

from benchmarks import priors

from ..helpers import make_sized_prior, make_tiny_prior, squares


def test_every_size_has_a_column_from_small_to_large(tmp_path, monkeypatch, capsys):
    make_sized_prior().save(tmp_path / "sizes")
    make_sized_prior().at(16).save(tmp_path / "again")
    make_tiny_prior(name="tiny").save(tmp_path / "other")
    names = [str(tmp_path / name) for name in ("sizes", "again", "other")]
    output = tmp_path / "sheet.png"
    monkeypatch.setattr("sys.argv", ["priors", *names, "-n", "2", "--temperatures", "0.7", "-o", str(output)])
    priors.main()
    rows = [line.strip("| ").split(" | ") for line in capsys.readouterr().out.splitlines()]
    assert [cell.split()[0] for cell in rows[0]] == ["tiny8", "tiny16", "tiny", "tiny32"]
    assert all(len(row) == 5 for row in rows[2:]) and output.is_file()
    for what in ("grid of 2, 4 and 8 pixels in 1/255, temperature 0.7", "temperature 0.7: detail of the flattest"):
        assert any(row[0].startswith(what) for row in rows)


def test_distances_are_of_each_temperature(tmp_path, monkeypatch, capsys):
    make_sized_prior().save(tmp_path / "sizes")
    for index, picture in enumerate(squares(10, size=32)):
        (folder := tmp_path / "faces" / ("train" if index < 2 else "val")).mkdir(parents=True, exist_ok=True)
        picture.save(folder / f"{index}.png")
    command = ["priors", tmp_path / "sizes", "--data", tmp_path / "faces", "--held-out", "val/*", "-n", 8]
    command += ["--temperatures", 0.7, 1, "--distances", "colour and texture"]
    monkeypatch.setattr("sys.argv", list(map(str, command)))
    priors.main()
    rows = [line.split(" | ") for line in capsys.readouterr().out.splitlines()]
    assert [len(row) for row in rows[2:]] == [2, 2] and all("±" in row[1] for row in rows[2:])
