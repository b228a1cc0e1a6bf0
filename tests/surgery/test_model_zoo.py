"""Models of torchvision and timm: half of the channels cut, and every cut proved. An hour, so a slow test."""

import pytest
from benchmarks.model_zoo import page
from benchmarks.zoo_models import MODELS, available
from benchmarks.zoo_verdicts import Verdict, judge


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore")  # of packages that are not ours
@pytest.mark.parametrize("name", MODELS)
def test_half_of_the_channels_go_and_the_rest_computes_the_same(name: str):
    if not available(name):
        pytest.skip(f"{name.partition('/')[0]} is not installed")
    verdict = judge(name)
    assert verdict.state in ("exact", "statistics", "partly"), verdict.reasons
    assert verdict.difference is not None
    assert verdict.difference <= 1e-9
    assert verdict.after < verdict.before


def test_the_page_counts_what_its_lines_say():
    lines = [
        Verdict(name="timm/a", size=8, state="exact", form="module", share=1.0, difference=1e-16, before=9, after=4),
        Verdict(name="timm/b", size=8, state="refused", reasons=("why | not",)),
    ]
    pytest.importorskip("torchvision")
    pytest.importorskip("timm")
    text = page(lines)
    assert "| timm | 2 | 1 | 0 | 0 | 1 | 0 | 1 |" in text
    assert "why / not" in text
