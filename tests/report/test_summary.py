"""The lines that a terminal shows, from the results."""

from prudent.run_folder import read_results
from prudent.summary import means, table
from prudent.wording import size
from tests.report.sample import Sample, edit, write_run


def test_sizes_are_of_the_declared_seed_and_the_note_says_so(tmp_path):
    folder = write_run(tmp_path, Sample(seeds=(3, 4)))

    def declare_the_second(results):
        results["study"]["certification"]["declared"]["seed"] = 4
        for network in results["networks"]:
            if network["seed"] == 3:
                network["bytes"] *= 10

    edit(folder, declare_the_second)
    results = read_results(folder)
    dense = next(n for n in results["networks"] if (n["method"], n["seed"]) == ("", 4))
    rows = table(results)
    assert rows[0][2] == size(dense["bytes"])
    for row in rows[1:]:
        if row[1] != "nothing":
            own = next(n for n in results["networks"] if (n["method"], n["seed"]) == (row[0], 4)
                       and f"{100 * n['sparsity']:g}" == row[1].split("\u202f")[0])  # fmt: skip
            assert abs(float(row[2][:-1]) - dense["bytes"] / own["bytes"]) <= 0.051
    assert means(results).startswith("Certified, smaller and fewer MACs: seed 4.")
    assert "means over 2 seeds" in means(results)


def test_one_seed_needs_no_note(tmp_path):
    assert means(read_results(write_run(tmp_path, Sample(seeds=(3,))))) == ""
