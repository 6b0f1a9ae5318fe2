"""Log-probabilities and entropies, against PyTorch's own log-softmax and numerical gradients."""

from __future__ import annotations

import torch

from rgym_exp.training.token_log_probs import token_log_probs


def test_values_are_those_of_log_softmax() -> None:
    torch.manual_seed(0)
    logits, ids = torch.randn(3, 50, 11) * 4, torch.randint(0, 11, (3, 50))
    log_probs, entropies = token_log_probs(logits, ids, temperature=0.7)
    expected = (logits / 0.7).log_softmax(-1)
    assert torch.allclose(log_probs, expected.gather(-1, ids[..., None]).squeeze(-1), atol=1e-5)
    assert torch.allclose(entropies, -(expected.exp() * expected).sum(-1), atol=1e-5)


def test_the_gradient_is_the_numerical_one() -> None:
    torch.manual_seed(0)
    logits = torch.randn(4, 6, dtype=torch.float64, requires_grad=True)
    ids = torch.tensor([0, 5, 2, 2])
    assert torch.autograd.gradcheck(lambda x: token_log_probs(x, ids, 0.9)[0], (logits,))


def test_bf16_logits_get_bf16_gradients_and_fp32_log_probs() -> None:
    logits = torch.randn(70, 9, dtype=torch.bfloat16, requires_grad=True)
    log_probs, _ = token_log_probs(logits, torch.zeros(70, dtype=torch.long), 1.0)
    log_probs.sum().backward()
    assert log_probs.dtype == torch.float32
    assert logits.grad is not None and logits.grad.dtype == torch.bfloat16
    # Each row's gradient is one-hot minus softmax, which sums to nothing.
    assert logits.grad.float().sum(-1).abs().max() < 0.05


def test_extreme_logits_stay_finite() -> None:
    logits = torch.tensor([[1e4, -1e4, 0.0]], requires_grad=True)
    log_probs, entropies = token_log_probs(logits, torch.tensor([1]), 1.0)
    log_probs.sum().backward()
    assert log_probs.item() == -2e4
    assert entropies.isfinite().all() and logits.grad is not None and logits.grad.isfinite().all()
