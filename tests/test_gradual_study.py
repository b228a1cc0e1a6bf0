"""Gradual pruning in a study: the network is whole when its training starts."""

import prudent
from prudent.cells import pruned

STUDY = """
name = "gradual"
seeds = [0]
[data]
name = "moons"
options = { train = 200 }
[model]
name = "mlp"
options = { hidden = [16] }
[training]
epochs = 2
batch_size = 20
[[methods]]
name = "gradual"
schedule = "gradual"
schedule_options = { every = 2 }
sparsities = [0.5]
[evaluation]
latency_turns = 3
[certification]
declared = { method = "gradual" }
"""


def test_nothing_is_gone_at_first(tmp_path, monkeypatch):
    (tmp_path / "gradual.toml").write_text(STUDY)
    zeros, real = [], pruned.trained

    def trained(model, *args, **options):
        zeros.append(sum(int((p == 0).sum()) for name, p in model.named_parameters() if name.endswith("weight")))
        return real(model, *args, **options)

    monkeypatch.setattr(pruned, "trained", trained)
    run = prudent.study(tmp_path / "gradual.toml", out=tmp_path / "runs", executor="inline")
    assert zeros == [0]
    networks = list((run / "networks").rglob("network.json"))
    assert len(networks) == 2
