"""LARS for both hosts: one that acts after the closure and never waits for the device.

Release 1.0.2 wraps SGD and scales the gradients that it finds before the engine's closure makes new
ones, so that it acts on nothing; the main branch's asks the device about every parameter's norm.
"""

from collections.abc import Callable, Iterable
from typing import Any

import torch
from torch import Tensor
from torch.optim import Optimizer


def unscaled(group: dict[str, Any]) -> dict[str, Any]:
    """Mark a parameter group so that LARS takes its gradients as they are."""
    return {**group, "unscaled": True}


class LARS(Optimizer):
    """SGD with layer-wise rates (You et al., arXiv 1708.03888), as both hosts have it.

    With p a parameter, g its gradient and wd its weight decay, the step is SGD's (momentum,
    dampening, Nesterov) on (g + wd p) r, where r = eta |p| / (|g| + wd |p| + eps), or
    min(r / lr, 1) with ``clip_lr``. Where |p| or |g| is zero, in groups marked by :func:`unscaled`
    and, with ``exclude_bias_n_norm``, for parameters of one dimension, it is SGD's on g alone.

    A state of the main branch's LARS, or of the SGD in the release's wrapper, can be loaded: it is
    a ``momentum_buffer`` for each parameter.

    Args:
        params: parameters or groups of them.
        lr: rate.
        momentum: in [0, 1).
        dampening: of momentum.
        weight_decay: factor of an L2 penalty's gradient.
        nesterov: needs momentum, and no dampening.
        eta: trust coefficient.
        eps: added to the divisor.
        clip_lr: keep a layer's rate from exceeding ``lr``.
        exclude_bias_n_norm: neither scale nor decay biases and normalisation's parameters.

    Raises:
        ValueError: Nesterov's momentum without momentum, or with dampening.
    """

    def __init__(
        self,
        params: Iterable[Any],
        lr: float = 1e-3,
        momentum: float = 0.0,
        dampening: float = 0.0,
        weight_decay: float = 0.0,
        nesterov: bool = False,
        eta: float = 1e-3,
        eps: float = 1e-8,
        clip_lr: bool = False,
        exclude_bias_n_norm: bool = False,
    ) -> None:
        if nesterov and (momentum <= 0 or dampening != 0):
            raise ValueError("Nesterov momentum needs momentum above 0 and dampening 0")
        defaults = {
            "lr": lr,
            "momentum": momentum,
            "dampening": dampening,
            "weight_decay": weight_decay,
            "nesterov": nesterov,
            "eta": eta,
            "eps": eps,
            "clip_lr": clip_lr,
            "exclude_bias_n_norm": exclude_bias_n_norm,
            "unscaled": False,
        }
        super().__init__(params, defaults)

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Load a state; options that its groups lack, as SGD's do, stay as they are."""
        own = [{k: v for k, v in g.items() if k != "params"} for g in self.param_groups]
        super().load_state_dict(state_dict)
        for group, options in zip(self.param_groups, own, strict=True):
            for name, value in options.items():
                group.setdefault(name, value)

    @torch.no_grad()
    def step(self, closure: Callable[[], Any] | None = None) -> Any:  # type: ignore[override]
        """Run the closure, if there is one, and take a step along the gradients that it left."""
        loss = None
        if closure is not None:
            with torch.enable_grad():
                loss = closure()
        for group in self.param_groups:
            for parameter in group["params"]:
                if parameter.grad is not None:
                    self._descend(parameter, _scaled(parameter, group), group)
        return loss

    def _descend(self, parameter: Tensor, direction: Tensor, group: dict[str, Any]) -> None:
        """SGD's part of the step."""
        momentum = group["momentum"]
        if momentum != 0:
            state = self.state[parameter]
            velocity = state.get("momentum_buffer")
            if velocity is None:
                velocity = state["momentum_buffer"] = direction.clone()
            else:
                velocity.mul_(momentum).add_(direction, alpha=1 - group["dampening"])
            direction = direction.add(velocity, alpha=momentum) if group["nesterov"] else velocity
        parameter.add_(direction, alpha=-group["lr"])


def _scaled(parameter: Tensor, group: dict[str, Any]) -> Tensor:
    """The decayed gradient times the layer's rate; nothing is read from the device."""
    gradient: Tensor = parameter.grad  # type: ignore[assignment]
    if group["unscaled"] or (parameter.ndim == 1 and group["exclude_bias_n_norm"]):
        return gradient
    decay = group["weight_decay"]
    size, slope = torch.linalg.vector_norm(parameter), torch.linalg.vector_norm(gradient)
    rate = size / (slope + size * decay + group["eps"]) * group["eta"]
    if group["clip_lr"]:
        rate = (rate / group["lr"]).clamp(max=1.0)
    known = (size != 0) & (slope != 0)
    decayed: Tensor = gradient + parameter * (known.to(size.dtype) * decay)
    return decayed.mul_(torch.where(known, rate, 1.0))
