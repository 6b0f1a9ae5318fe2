"""The README of a pushed model: where it comes from, how it was trained, how well it does, how to load it.

Words of strangers (names, invites) appear only as plain words or inside code marks, so they can form neither markdown
nor YAML.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from huggingface_hub import ModelCardData

from rgym_exp.training.bundled import BUNDLED_MODEL
from rgym_exp.training.history import Stretch
from rgym_exp.training.hub_names import base_model_on_the_hub, base_model_to_show

PEERS_NAMED = 20

# Only what is known for certain; another base model's licence is its card's to say.
_LICENSES = {BUNDLED_MODEL: "apache-2.0"}
_PLAIN_CHAT = ({"role": "user", "content": "What is 3 + 5?"},)


@dataclass(frozen=True, kw_only=True)
class TrainedHere:
    """What stays the same during a run, as a model card needs it."""

    model_name: str
    """The base model, as the configuration names it."""
    lora: bool
    animal_name: str
    peer_id: str
    network: str
    swarm_id: str
    tasks: str
    """The tasks file's name."""
    datasets: Sequence[str] = ()
    """reasoning-gym's names of what was trained on."""
    chat: Sequence[Mapping[str, str]] = ()
    """A chat as the model is asked in training; empty: a plain question."""
    hyperparameters: Mapping[str, object] = field(default_factory=dict)
    """Those that matter, by the names they have in the configuration."""
    versions: Mapping[str, str] = field(default_factory=dict)
    """Of the libraries, by package name."""


@dataclass(frozen=True, kw_only=True)
class CardFacts:
    """All that a model card says."""

    repo: str
    """``<user>/<name>``."""
    run: TrainedHere
    step: int
    """Optimizer steps made: rounds taken part in."""
    round: int
    """The swarm's number of the last one."""
    rounds: int
    """Rounds whose reports are known: fewer than ``step`` when some were lost."""
    rounds_with_others: int
    """Of these, rounds with groups of other peers in the batch."""
    held_out_before: float | None
    curve: Sequence[Stretch]
    peer_names: Sequence[str]
    """Animal names of peers whose answers were trained on, the most frequent first; at most 20 are named."""
    peer_count: int


def model_card(facts: CardFacts) -> str:
    """The whole README.md: YAML head and markdown."""
    parts = [
        f"---\n{_head(facts.run).to_yaml()}\n---",
        f"# {facts.repo.split('/')[-1]}",
        _summary(facts),
        "## Use",
        _usage(facts),
        "## How well it does",
        _results(facts),
        "## Training",
        _training(facts),
        "## Limits",
        _limits(facts.run),
    ]
    return "\n\n".join(parts) + "\n"


def _head(run: TrainedHere) -> ModelCardData:
    tags = ["rl-swarm", "grpo", "gensyn", "trl", "reasoning-gym", run.animal_name]
    tags += ["lora"] if run.lora else []
    return ModelCardData(
        base_model=base_model_on_the_hub(run.model_name),
        base_model_relation="adapter" if run.lora else "finetune",
        library_name="peft" if run.lora else "transformers",
        license=_LICENSES.get(run.model_name),
        pipeline_tag="text-generation",
        tags=list(dict.fromkeys(_tag(tag) for tag in tags)),
    )


def _summary(facts: CardFacts) -> str:
    run = facts.run
    what = "A low-rank adapter (LoRA) for" if run.lora else "A copy of"
    with_others = (
        f"In {facts.rounds_with_others} of {facts.rounds} rounds the batch held answers of other peers."
        if facts.rounds_with_others
        else "No other peer's answers were in its batches so far: it has trained by itself."
    )
    return (
        f"{what} {_base(run)}, trained by reinforcement learning in a swarm of peers: RL Swarm, peer "
        f"**{_words(run.animal_name)}**. Each peer trains a model of its own. In every round it answers problems, "
        "shares the text of its answers, scores its own and a sample of the others' itself, and makes one GRPO step "
        "on both (Swarm sAmpling Policy Optimization, [arXiv 2509.08721](https://arxiv.org/abs/2509.08721)).\n\n"
        f"State: after {facts.step} rounds (the swarm's round {facts.round}). {with_others}"
    )


def _usage(facts: CardFacts) -> str:
    # JSON of texts is Python too, where it isn't made to spell letters beyond the basic plane as two.
    chat = json.dumps([dict(message) for message in facts.run.chat or _PLAIN_CHAT], indent=4, ensure_ascii=False)
    library, kind = ("peft", "AutoPeftModelForCausalLM") if facts.run.lora else ("transformers", "AutoModelForCausalLM")
    imports = "from transformers import AutoTokenizer" if facts.run.lora else ""
    names = kind if facts.run.lora else f"{kind}, AutoTokenizer"
    lines = [
        "```python",
        f"from {library} import {names}",
        *([imports] if imports else []),
        "",
        f"repo = {json.dumps(facts.repo)}",
        "tokenizer = AutoTokenizer.from_pretrained(repo)",
        f"model = {kind}.from_pretrained(repo)",
        f"chat = {chat}",
        'prompt = tokenizer.apply_chat_template(chat, add_generation_prompt=True, return_tensors="pt", '
        "return_dict=True)",
        "answer = model.generate(**prompt, max_new_tokens=64, do_sample=False)",
        'print(tokenizer.decode(answer[0, prompt["input_ids"].shape[1] :], skip_special_tokens=True))',
        "```",
    ]
    if facts.run.lora and base_model_on_the_hub(facts.run.model_name) is None:
        lines.append(
            "\nThe base model came from a folder and isn't named in `adapter_config.json`: load it yourself, then "
            "`PeftModel.from_pretrained(base, repo)`."
        )
    return "\n".join(lines)


def _results(facts: CardFacts) -> str:
    text = (
        "Reward: mean score, from 0 to 1, of all answers that this peer sampled for its own problems. Held-out: share "
        "of right greedy answers to problems that no peer ever trains on, the last one measured in these rounds."
    )
    rows = ["| rounds | reward | held-out |", "| --- | --- | --- |"]
    if facts.held_out_before is not None:
        rows.append(f"| before | | {_number(facts.held_out_before)} |")
    rows += [
        f"| {_span(stretch)} | {_number(stretch.reward)} | {_number(stretch.held_out)} |" for stretch in facts.curve
    ]
    return f"{text}\n\n" + "\n".join(rows)


def _training(facts: CardFacts) -> str:
    run = facts.run
    datasets = ", ".join(_code(name) for name in run.datasets)
    lines = [
        f"- Problems: tasks {_code(run.tasks)} of [reasoning-gym](https://github.com/open-thought/reasoning-gym)"
        + (f": {datasets}." if datasets else "."),
        f"- Swarm: {_code(run.swarm_id)} on network {_code(run.network)}; this peer: {_code(run.peer_id)}.",
    ]
    if run.hyperparameters:
        settings = ", ".join(f"{_code(f'{name}={value}')}" for name, value in run.hyperparameters.items())
        lines.append(f"- Settings: {settings}.")
    if run.versions:
        lines.append(f"- Versions: {', '.join(_code(f'{name} {version}') for name, version in run.versions.items())}.")
    if facts.peer_count:
        named = [_words(name) for name in facts.peer_names[:PEERS_NAMED]]
        more = facts.peer_count - len(named)
        lines.append(f"- Learned from {', '.join(named)}" + (f" and {more} more." if more > 0 else "."))
    return "\n".join(lines)


def _limits(run: TrainedHere) -> str:
    lines = [
        "- It was trained for one thing: short problems with an answer that a program can check, in the form of the "
        "chat above. Nobody has measured what else changed.",
        "- The other peers are strangers. Their answers were scored by this peer and not read by anybody.",
        "- Facts, safety and biases are the base model's, and so is its licence, which holds for this one too.",
    ]
    if run.model_name == BUNDLED_MODEL:
        lines.append(
            "- Training started from a 4-bit (Q4_1) copy of the base model, so even untrained weights differ a little "
            "from it" + ("; the adapter was trained on that copy." if run.lora else ".")
        )
    return "\n".join(lines)


def _base(run: TrainedHere) -> str:
    base = base_model_on_the_hub(run.model_name)
    shown = _code(base_model_to_show(run.model_name))
    return f"[{shown}](https://huggingface.co/{base})" if base else shown


def _span(stretch: Stretch) -> str:
    if stretch.first_step == stretch.last_step:
        return str(stretch.first_step)
    return f"{stretch.first_step} to {stretch.last_step}"


def _number(value: float | None) -> str:
    return "" if value is None else f"{value:.3f}"


def _tag(text: str) -> str:
    return re.sub(r"[^a-z0-9-]+", "-", text.lower()).strip("-")[:60]


def _words(text: str) -> str:
    """Letters, digits and single spaces: nothing that markdown could take for its own."""
    return " ".join(re.sub(r"[^\w-]+|_+", " ", text[:200]).split())[:60]


def _code(text: str) -> str:
    """As code: one line, not endless, and without the marks that would end it."""
    plain = "".join(letter if letter.isprintable() and letter not in "`|" else "?" for letter in text)
    return f"`{plain[:120] or '-'}`"
