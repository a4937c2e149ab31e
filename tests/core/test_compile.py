"""Head and loss under torch.compile."""

import shutil
import sysconfig
from pathlib import Path

import pytest
import torch

from mast_plugin import SubspaceHead, mast_loss

from .tolerances import TOLERANCE

pytestmark = pytest.mark.slow

FEATURES, TYPES = 10, 5
HEADERS = Path(sysconfig.get_paths()["include"]) / "Python.h"
with_and_without = pytest.mark.parametrize("uncertainty", [True, False])


@pytest.fixture(autouse=True)
def forgotten():
    """What other tests compiled counts towards dynamo's limit of recompilations."""
    torch.compiler.reset()


def make_step(uncertainty):
    torch.manual_seed(0)
    head = SubspaceHead(
        features_dim=FEATURES,
        hidden_dim=8,
        embedding_dim=12,
        num_types=TYPES,
        uncertainty=uncertainty,
    )

    def step(f1, f2, route):
        u = head.log_variance(f1, f2)
        return mast_loss(head(f1), head(f2), masks=head.masks, route=route, log_variance=u)

    return head, step


def make_batch(num_images=16):
    generator = torch.Generator().manual_seed(num_images)
    f1, f2 = torch.randn(2, num_images, FEATURES, generator=generator).unbind()
    return f1, f2, torch.rand(num_images, TYPES, generator=generator) < 0.6


def gradients(head, terms):
    head.zero_grad()
    terms.loss.backward()
    return {name: parameter.grad.clone() for name, parameter in head.named_parameters()}


def assert_same(head, step, compiled, batch):
    terms, expected = compiled(*batch), step(*batch)
    torch.testing.assert_close(terms, expected, **TOLERANCE[torch.float32])
    torch.testing.assert_close(
        gradients(head, terms), gradients(head, expected), **TOLERANCE[torch.float32]
    )


@with_and_without
def test_nothing_breaks_the_graph(uncertainty):
    _, step = make_step(uncertainty)
    report = torch._dynamo.explain(step)(*make_batch())
    assert (report.graph_count, report.graph_break_count) == (1, 0), report.break_reasons


@with_and_without
def test_the_compiled_step_is_the_same(uncertainty):
    head, step = make_step(uncertainty)
    compiled = torch.compile(step, fullgraph=True, backend="aot_eager")
    assert_same(head, step, compiled, make_batch())


def test_nothing_breaks_the_graph_under_autocast():
    _, step = make_step(uncertainty=True)
    compiled = torch.compile(step, fullgraph=True, backend="eager")
    with torch.autocast("cpu", dtype=torch.bfloat16):
        assert compiled(*make_batch()).loss.isfinite()


def test_another_batch_size_breaks_nothing():
    head, step = make_step(uncertainty=True)
    compiled = torch.compile(step, fullgraph=True, backend="eager")
    for num_images in (16, 12, 20):
        assert_same(head, step, compiled, make_batch(num_images))


@pytest.mark.skipif(not (shutil.which("g++") and HEADERS.exists()), reason="no C++ for inductor")
@pytest.mark.filterwarnings("ignore:`torch.jit.script_method` is deprecated:DeprecationWarning")
def test_generated_code_computes_the_same_loss(monkeypatch):
    """The loss alone, as each kernel takes g++ two seconds; benchmarks/compiled.py has the head."""
    # Compiling in this process spares the start of a pool of them.
    monkeypatch.setattr("torch._inductor.config.compile_threads", 1)
    torch.manual_seed(0)
    z1, z2 = torch.randn(2, 16, 12).unbind()
    inputs = [z.requires_grad_() for z in (z1, z2, torch.rand(TYPES, 12), torch.randn(16, TYPES))]
    route = torch.rand(16, TYPES) < 0.6

    def terms_of(z1, z2, masks, u):
        return mast_loss(z1, z2, masks=masks, route=route, log_variance=u)

    actual = torch.compile(terms_of, fullgraph=True)(*inputs)
    expected = terms_of(*inputs)
    torch.testing.assert_close(actual, expected, **TOLERANCE[torch.float32])
    torch.testing.assert_close(
        torch.autograd.grad(actual.loss, inputs),
        torch.autograd.grad(expected.loss, inputs),
        **TOLERANCE[torch.float32],
    )
