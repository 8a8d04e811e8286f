"""The training loop: listwise distillation in float32, resumable at any checkpoint."""

import concurrent.futures
import dataclasses
import functools
import json
import os
import pathlib
import signal
import time

import numpy as np
import torch
import transformers

import encoding
import forward
import sampling


@dataclasses.dataclass(frozen=True)
class Cycle:
    """One rise and fall of the learning rate, up to step `end`.

    The rate stays at `rate` until step `decay_from` and then falls linearly to zero.
    """

    end: int
    decay_from: int
    rate: float


@dataclasses.dataclass(frozen=True)
class Schedule:
    """How long and how fast to train: cycles one after the other, each rising over `warmup` steps.

    A finished run can be continued by one more cycle without changing its earlier steps. A group of a small model is
    little work: larger tasks and batches are for it.
    """

    cycles: tuple[Cycle, ...]
    warmup: int
    groups_per_step: int
    max_length: int
    frozen: tuple[str, ...] = ()
    weight_decay: float = 0.01
    groups_per_task: int = 1  # Computed together by one thread.
    pairs_per_batch: int = 4  # The pairs of a task run in padded batches of this many.

    def __post_init__(self):
        if self.groups_per_step % self.groups_per_task:
            raise ValueError(f"{self.groups_per_step} groups of a step do not fill tasks of {self.groups_per_task}")

    @property
    def steps(self) -> int:
        """Steps of all cycles."""
        return self.cycles[-1].end

    def rate_at(self, step: int) -> float:
        """Learning rate of step `step` (from 0)."""
        start = 0
        for cycle in self.cycles:
            if step < cycle.end:
                rising = min(1.0, (step - start + 1) / self.warmup)
                falling = min(1.0, (cycle.end - step) / max(1, cycle.end - cycle.decay_from))
                return cycle.rate * min(rising, falling)
            start = cycle.end
        return 0.0


TEMPERATURE = 2.0
POINTWISE_WEIGHT = 0.1
_CLIP = 1.0
CHECKPOINT_SECONDS = 120.0
CHECKPOINT_NAME = "checkpoint.pt"
LOG_NAME = "training_log.jsonl"


def checkpoint_weights(folder: pathlib.Path) -> dict[str, torch.Tensor]:
    """Weights of the latest checkpoint in `folder`, by name."""
    return torch.load(folder / CHECKPOINT_NAME, weights_only=True)["model"]


def distillation_loss(scores: torch.Tensor, targets: torch.Tensor) -> torch.Tensor:
    """Listwise KL at TEMPERATURE plus a pointwise term that fixes the scale of the logits.

    scores, targets: float32 [groups, GROUP_SIZE]. Returns a scalar.
    """
    wanted = torch.log_softmax(targets / TEMPERATURE, dim=-1)
    given = torch.log_softmax(scores / TEMPERATURE, dim=-1)
    listwise = torch.nn.functional.kl_div(given, wanted, reduction="batchmean", log_target=True)
    pointwise = torch.nn.functional.mse_loss(scores, targets)
    return listwise * TEMPERATURE**2 + POINTWISE_WEIGHT * pointwise


class Trainer:
    """Trains one student in `folder`, which holds its checkpoint and its log. Single-threaded use."""

    def __init__(self, model: transformers.BertForSequenceClassification, schedule: Schedule, folder: pathlib.Path):
        self._model = model.train()
        self._schedule = schedule
        self._checkpoint = folder / CHECKPOINT_NAME
        self._log = folder / LOG_NAME
        self._step = 0
        self._stop = False
        for name, parameter in model.named_parameters():
            parameter.requires_grad_(not name.startswith(schedule.frozen or ("\0",)))
        self._trained = [p for p in model.parameters() if p.requires_grad]
        self._optimizer = torch.optim.AdamW(
            self._trained, lr=0.0, betas=(0.9, 0.98), weight_decay=schedule.weight_decay, fused=True
        )
        folder.mkdir(parents=True, exist_ok=True)
        self._resume()

    def run(self, stream: sampling.GroupStream, texts: "PairTexts", threads: int = 1) -> bool:
        """Trains to the end of the schedule; False if SIGTERM stopped it at a checkpoint."""
        signal.signal(signal.SIGTERM, lambda *_: setattr(self, "_stop", True))
        saved = time.monotonic()
        torch.set_num_threads(1)  # The groups are the parallelism; nested threads would wait for each other.
        workers = concurrent.futures.ThreadPoolExecutor(threads, initializer=torch.set_num_threads, initargs=(1,))
        with workers, open(self._log, "a", encoding="utf-8") as log:
            while self._step < self._schedule.steps and not self._stop:
                line = self._train_step(stream.step(self._step), texts, workers)
                log.write(json.dumps(line) + "\n")
                log.flush()
                self._step += 1
                if time.monotonic() - saved > CHECKPOINT_SECONDS:
                    self._save()
                    saved = time.monotonic()
        self._save()
        return not self._stop

    def _train_step(
        self, groups: list[sampling.Group], texts: "PairTexts", workers: concurrent.futures.Executor
    ) -> dict:
        """One optimiser step; returns its log line."""
        started = time.monotonic()
        rate = self._schedule.rate_at(self._step)
        self._optimizer.param_groups[0]["lr"] = rate
        size = self._schedule.groups_per_task
        tasks = [groups[i : i + size] for i in range(0, len(groups), size)]
        losses, gradients = zip(*workers.map(lambda task: self._gradients(task, texts), tasks))
        for parameter, of_tasks in zip(self._trained, zip(*gradients)):
            parameter.grad = functools.reduce(torch.Tensor.add_, of_tasks).div_(len(tasks))
        torch.nn.utils.clip_grad_norm_(self._trained, _CLIP)
        self._optimizer.step()
        loss = round(sum(losses) / len(losses), 5)
        seconds = round(time.monotonic() - started, 2)
        return {"step": self._step, "loss": loss, "rate": float(f"{rate:.3g}"), "seconds": seconds}

    def _gradients(self, task: list[sampling.Group], texts: "PairTexts") -> tuple[float, tuple[torch.Tensor, ...]]:
        """Mean loss of a task's groups and its gradient for each trained parameter.

        Runs on one thread and touches no shared gradient, so a step is the same for any number of
        threads: the sum over tasks is taken in their order.
        """
        rows = [row for group in task for row in texts.rows(group, self._schedule.max_length)]
        targets = torch.from_numpy(np.stack([group.targets for group in task]))
        loss = distillation_loss(self._scores(rows).view_as(targets), targets)
        return loss.item(), torch.autograd.grad(loss, self._trained)

    def _scores(self, rows: list[tuple[np.ndarray, np.ndarray]]) -> torch.Tensor:
        """Logits of pairs in their order, float32 [pairs]; run in batches of similar length."""
        chunks = encoding.batches_by_length(rows, self._schedule.pairs_per_batch)
        batches = [encoding.pad_batch([rows[r] for r in chunk]) for chunk in chunks]
        logits = [forward.logits(self._model, batch).squeeze(-1) for batch in batches]
        order = torch.argsort(torch.tensor([r for chunk in chunks for r in chunk]))
        return torch.cat(logits)[order]

    def _save(self):
        """Writes model, optimiser and step; there is no random state beyond the step number."""
        state = {"model": self._model.state_dict(), "optimizer": self._optimizer.state_dict(), "step": self._step}
        partial = self._checkpoint.with_suffix(".partial")
        torch.save(state, partial)
        os.replace(partial, self._checkpoint)

    def _resume(self):
        """Continues from the checkpoint, if any, and drops log lines written after it."""
        if self._checkpoint.exists():
            state = torch.load(self._checkpoint, weights_only=True)
            self._model.load_state_dict(state["model"])
            self._optimizer.load_state_dict(state["optimizer"])
            self._step = state["step"]
        lines = self._log.read_text(encoding="utf-8").splitlines() if self._log.exists() else []
        self._log.write_text("".join(line + "\n" for line in lines[: self._step]), encoding="utf-8")


@dataclasses.dataclass
class PairTexts:
    """Token ids of all queries and passages, int32 [length] each."""

    queries: list[np.ndarray]
    passages: list[np.ndarray]

    def rows(self, group: sampling.Group, max_length: int) -> list[tuple[np.ndarray, np.ndarray]]:
        """(ids, token types) of the group's pairs."""
        query = self.queries[group.query]
        return [encoding.pair_ids(query, self.passages[p], max_length) for p in group.passages]
