"""The training loop (Radford, Metz, Chintala 2015, section 3; Goodfellow et al. 2014, algorithm 1).

One step shows the discriminator a batch of real images and a batch of generated ones, then lets the generator
learn from what the discriminator makes of those same generated images.
"""

from __future__ import annotations

import math
import signal
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
from torch import nn

from dcgan import __version__
from dcgan.config import DEFAULT_KIMG, TrainConfig
from dcgan.data import PackedImages, training_labels
from dcgan.device import choose_precision, peak_memory
from dcgan.diffaug import augment
from dcgan.errors import DcganError
from dcgan.evaluate import QuickEvaluator
from dcgan.losses import LOSSES, gradient_penalty
from dcgan.train.batch import Batch, Batches, View
from dcgan.train.collapse import CollapseError, CollapseWatch, gradient_norm, health
from dcgan.train.distributed import ALONE, World, synchronize_batch_norm
from dcgan.train.ema import ema_decay, update_average
from dcgan.train.run import checkpoints, publish
from dcgan.train.state import BEST_FILE, METRICS, STATE_FILE, TrainingState
from dcgan.train.tracking import Tracker, read_metrics

Network = Callable[..., torch.Tensor]
SECONDS_BETWEEN_CHECKPOINTS = 600.0
EPOCHS_BETWEEN_CHECKPOINTS = 3
DECAYS: dict[str, Callable[[float], float]] = {
    "none": lambda share: 1.0,
    "linear": lambda share: 1 - share,
    "cosine": lambda share: (1 + math.cos(math.pi * share)) / 2,
}
"""What the learning rates are multiplied with, by the share of the run that is done."""


class Trainer:
    """Takes a run from its state to its end, one step at a time."""

    def __init__(
        self, config: TrainConfig, data: PackedImages, run: Path, device: torch.device, world: World = ALONE
    ) -> None:
        self.config, self.data, self.run, self.device, self.world = config, data, run, device, world
        self.precision, _ = choose_precision(config.precision, device)
        self.loss = LOSSES[config.loss]
        self.begin()
        self.total_images = round(target_kimg(config, data) * 1000)
        self.evaluator: QuickEvaluator | None = None
        """Judges the averaged generator every `evaluate_every` kimg, if that is set, on the first rank."""
        self.watch = CollapseWatch()
        self.logits: dict[str, torch.Tensor] = {}
        self.stop_signal: signal.Signals | None = None

    def begin(self) -> None:
        """Fresh networks, as each of their three uses in a step calls them."""
        config, device = self.config, self.device
        self.state = TrainingState.start(config, device)
        labels = self.learn_labels() if config.labels else None
        self.batches = Batches(config, self.data, device, self.world, labels)
        if config.sync_batchnorm:
            for network in (self.state.generator, self.state.discriminator):
                synchronize_batch_norm(network, device)
        averaging = self.world.averaging(self.state.discriminator)
        self.generate = self.compiled(self.world.averaging(self.state.generator))
        self.judge = self.compiled(averaging)
        self.judge_twice_differentiable: Network = averaging  # which torch.compile cannot do
        self.judge_frozen = self.compiled(self.state.discriminator)

    def compiled(self, network: nn.Module) -> Network:
        """The network, by torch.compile if so set."""
        return torch.compile(network) if self.config.compile else network

    @property
    def images(self) -> int:
        """Real images shown so far."""
        return self.state.step * self.config.batch

    def train(self, tracker: Tracker | None) -> None:
        """Train until the target is reached, a signal asks to stop, or a loss is no longer finite.

        Every rank does; only the first has a tracker. Raises `CollapseError` where the run is to act on one.
        """
        state, config = self.state, self.config
        if state.step == 0:
            self.sample(tracker, 0)
        if tracker is not None:
            self.watch = CollapseWatch(read_metrics(self.run))
        last_log, last_checkpoint, saved_step = (state.seconds, state.step), state.seconds, -1
        now = time.monotonic()
        while self.images < self.total_images and not self.asked_to_stop():
            self.train_step()
            state.seconds += time.monotonic() - now
            now = time.monotonic()
            if self.due(config.log_every):
                seconds, step = last_log
                self.log(tracker, (state.step - step) * config.batch / (state.seconds - seconds))
                last_log = (state.seconds, state.step)
            if self.due(config.sample_every):
                self.sample(tracker, self.images // round(config.sample_every * 1000) * config.sample_every)
            if config.evaluate_every is not None and self.due(config.evaluate_every):
                self.evaluate(tracker)
                now = time.monotonic()  # training time is what recipes are compared by, and this is none of it
            if self.checkpoint_due(state.seconds - last_checkpoint):
                self.checkpoint(tracker)
                last_checkpoint, saved_step = state.seconds, state.step
        if state.step != saved_step:  # or no step was left: a kill may have come between checkpoint and model file
            self.checkpoint(tracker)

    def asked_to_stop(self) -> bool:
        """Whether any rank got a signal to stop; all of them take note of it."""
        number = int(self.world.maximum(self.stop_signal or 0))
        if number:  # else leave it: a signal may have come meanwhile, for all ranks to hear of at the next step
            self.stop_signal = signal.Signals(number)
        return number > 0

    def train_step(self) -> None:
        """One step of both networks, on the batch that belongs to this step."""
        state, config = self.state, self.config
        self.set_rates()
        batch = self.batches(state.step)
        real = batch.real
        with self.autocast():
            fake = self.generate(batch.latents)

        real_logits, fake_logits, discriminator_loss = self.discriminator_step(batch, real, fake.detach())
        updated_logits, generator_loss = self.generator_step(batch, real, fake)

        state.step += 1
        decay = ema_decay(self.images, config.batch, config.ema_kimg * 1000, config.ema_rampup)
        update_average(state.average, state.generator, decay)

        self.logits = {"real": real_logits.detach(), "fake": fake_logits.detach(), "updated": updated_logits.detach()}
        with torch.no_grad():  # summed on the device: reading a number here would make the processor wait for a GPU
            figures = {
                "discriminator_loss": discriminator_loss,
                "generator_loss": generator_loss,
                "d_real": torch.sigmoid(real_logits).mean(),
                "d_fake": torch.sigmoid(fake_logits).mean(),
                "d_fake_updated": torch.sigmoid(updated_logits).mean(),
                **health(real_logits, fake_logits, real, fake),
                "generator_gradient": gradient_norm(state.generator),
                "discriminator_gradient": gradient_norm(state.discriminator),
            }
            if self.precision is torch.float16:  # a step that the scaler skipped, as its gradient overflowed
                for name in ("generator_gradient", "discriminator_gradient"):
                    figures[name] = figures[name].nan_to_num(0.0, 0.0)
            state.metric_sums += torch.stack([*(figures[name] for name in METRICS), torch.ones_like(generator_loss)])

    def discriminator_step(
        self, batch: Batch, real: torch.Tensor, fake: torch.Tensor
    ) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
        """Real images should get high logits, generated ones low; returns both, N each, and the loss.

        The two passes are apart, each with its own BatchNorm statistics.
        """
        state, config = self.state, self.config
        penalized = config.gradient_penalty > 0 and state.step % config.penalty_every == 0
        judge = self.judge_twice_differentiable if penalized else self.judge
        # A gradient of a gradient leaves float16's range, as it is not scaled with the loss.
        exact = penalized and self.precision is torch.float16
        if exact:
            fake = fake.float()
        real_logits = self.discriminate(judge, real.requires_grad_(penalized), batch.views["real"], exact)
        fake_logits = self.discriminate(judge, fake.requires_grad_(penalized), batch.views["fake"], exact)
        loss = total = self.loss.discriminator(real_logits, fake_logits, batch.real_targets, batch.fake_targets)
        if penalized:  # lazily, and so much the stronger (Karras et al. 2020, StyleGAN2, section 3.1)
            penalty = gradient_penalty(real_logits, real) + gradient_penalty(fake_logits, fake)
            total = loss + config.penalty_every * config.gradient_penalty / 2 * penalty
        descend(total, state.discriminator_optimizer, state.discriminator_scaler)
        return real_logits, fake_logits, loss

    def generator_step(self, batch: Batch, real: torch.Tensor, fake: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        """The same generated images should get high logits from the discriminator as it is now; returns them, N, and
        the loss.

        The discriminator is frozen, as its own gradients would be thrown away: a third of its backward pass.
        """
        state = self.state
        state.discriminator.requires_grad_(False)
        fake_logits = self.discriminate(self.judge_frozen, fake, batch.views["updated"])
        real_logits = torch.zeros_like(fake_logits)
        if self.loss.pairs:
            with torch.no_grad():
                real_logits = self.discriminate(self.judge_frozen, real, batch.views["paired"])
        loss = self.loss.generator(real_logits, fake_logits)
        descend(loss, state.generator_optimizer, state.generator_scaler)
        state.discriminator.requires_grad_(True)
        return fake_logits, loss

    def set_rates(self) -> None:
        """Give both optimisers the learning rates of this step."""
        state, config = self.state, self.config
        share = min(1.0, self.images / self.total_images)
        factor = state.rate_scale * DECAYS[config.lr_decay](share)
        for optimizer, rate in (
            (state.generator_optimizer, config.generator_lr),
            (state.discriminator_optimizer, config.discriminator_lr),
        ):
            for group in optimizer.param_groups:
                group["lr"] = rate * factor

    def autocast(self, exact: bool = False) -> torch.autocast:
        """Lower precision for the networks' arithmetic, where it is fast."""
        lower = self.precision in (torch.bfloat16, torch.float16)
        return torch.autocast(self.device.type, self.precision if lower else None, enabled=lower and not exact)

    def discriminate(self, judge: Network, images: torch.Tensor, view: View, exact: bool = False) -> torch.Tensor:
        """Logits N, float32, of images N x C x H x W as they look in `view`."""
        if view.augmentation is not None:
            images = augment(images, view.augmentation)
        if view.noise is not None:
            images = images + view.noise
        with self.autocast(exact):
            logits = judge(images, view.labels)
        return logits.float()

    def learn_labels(self) -> torch.Tensor:
        """Let both generators keep what the training images' labels are like; returns the codes of all, M x L."""
        indices = self.data.training_indices[:]
        values = torch.from_numpy(training_labels(self.data, self.config.labels, indices))
        own, averaged = self.state.generator.code, self.state.average.code
        assert own is not None
        assert averaged is not None
        own.learn(values)
        averaged.learn(values)
        return own.encode(values)

    def due(self, every: float) -> bool:
        """Whether this step passed a multiple of `every` kimg."""
        every_images = max(1, round(every * 1000))
        return self.images // every_images > (self.images - self.config.batch) // every_images

    def checkpoint_due(self, seconds_since_last: float) -> bool:
        """Whether this step ends with a checkpoint; ranks' clocks differ, so the one furthest ahead counts."""
        if self.config.checkpoint_every is not None:
            return self.due(self.config.checkpoint_every)
        epochs = EPOCHS_BETWEEN_CHECKPOINTS * len(self.data.training_indices) / 1000
        return self.world.maximum(seconds_since_last) > SECONDS_BETWEEN_CHECKPOINTS or self.due(epochs)

    def log(self, tracker: Tracker | None, images_per_second: float) -> None:
        """Write the means since the last line; this is where a GPU is waited for."""
        *sums, steps = self.world.average_(self.state.metric_sums).tolist()
        self.check_finite()
        self.state.metric_sums.zero_()
        collapse = None
        if tracker is not None:
            record = {
                "step": self.state.step,
                **self.progress(),
                **{name: total / steps for name, total in zip(METRICS, sums, strict=True)},
                "generator_lr": self.state.generator_optimizer.param_groups[0]["lr"],
                "images_per_second": round(images_per_second, 1),
                **peak_memory(self.device),
                **self.clock(),
            }
            tracker.log(record)
            collapse = self.watch.judge(record)
        self.heed(collapse, tracker)

    def sample(self, tracker: Tracker | None, kimg: float) -> None:
        """Write the grid of fixed latents, from the averaged generator."""
        if tracker is not None:
            average = self.state.average
            tracker.samples(kimg, average.render(average.grid_latents(self.config.sample_count)), self.logits)
        self.world.wait()

    def evaluate(self, tracker: Tracker | None) -> None:
        """Judge the averaged generator, and keep it if it is the best so far by the first figure (lower is better)."""
        collapse = None
        if tracker is not None:
            assert self.evaluator is not None
            figures = self.evaluator(self.state.average)
            tracker.log_evaluation({"step": self.state.step, **self.progress(), "evaluation": figures, **self.clock()})
            name, distance = next(iter(figures.items()))
            # A run that was resumed with another extractor has figures of other names too, which do not compare.
            judged = [record["evaluation"].get(name, math.inf) for record in tracker.evaluations()]
            if distance == min(judged):
                self.state.save_model(self.run / BEST_FILE, self.config.model, {**self.about(), "metrics": figures})
            collapse = self.watch.judge(tracker.evaluations()[-1])
        self.world.wait()
        self.heed(collapse, tracker)

    def heed(self, collapse: CollapseError | None, tracker: Tracker | None) -> None:
        """Warn of a collapse that the first rank sees; if the run is to act on it, raise it on every rank."""
        if collapse is not None and tracker is not None:
            tracker.say(f"WARNING at {self.images / 1000:.1f} kimg: {collapse.warning}")
        if self.config.on_collapse != "warn":
            told = self.world.share(None if collapse is None else (collapse.warning, collapse.healthy_step))
            if told is not None:
                raise CollapseError(*told)

    def checkpoint(self, tracker: Tracker | None) -> None:
        """Save all that resumes, bring model file, plot and animation up to date, drop old checkpoints."""
        self.world.average_(self.state.metric_sums)  # so that any number of ranks can go on from them
        self.check_finite()
        if tracker is not None:
            folder = self.run / "checkpoints" / f"{self.state.step:08d}"
            tracker.summarise()
            if not (folder / STATE_FILE).exists():  # what lacks it is left of a deletion that was killed
                self.state.save(folder, self.config.model, self.about(), best=self.run / BEST_FILE)
            publish(folder, self.run, self.config.keep_checkpoints, self.watch.healthy_step)
        self.world.wait()

    def check_finite(self) -> None:
        """Stop before a broken state is saved over a good one."""
        if torch.isfinite(self.state.metric_sums).all():
            return
        kept = checkpoints(self.run)
        where = f"the last good state is {kept[-1]}" if kept else "no checkpoint had been written yet"
        raise DcganError(
            f"training diverged: a loss is no longer finite at {self.images / 1000:.1f} kimg; {where}. "
            "Lower --generator-lr and --discriminator-lr, or try --precision float32, and start a new run"
        )

    def progress(self) -> dict[str, float]:
        """How far the run is, in thousands of images and in passes over the training images."""
        return {"kimg": self.images / 1000, "epoch": round(self.images / len(self.data.training_indices), 4)}

    def clock(self) -> dict[str, float]:
        """Time spent training so far."""
        return {"seconds": round(self.state.seconds, 2)}

    def about(self) -> dict[str, Any]:
        """What the model file says of itself."""
        return {
            "version": __version__,
            "dataset": {"name": self.data.name, "digest": self.data.digest, "count": len(self.data)},
            "training": {**self.progress(), "preset": self.config.preset, "seed": self.config.seed},
            "metrics": {},
            "terms": self.data.terms,
        }


def descend(loss: torch.Tensor, optimizer: torch.optim.Optimizer, scaler: torch.amp.GradScaler) -> None:
    """One step of an optimiser down the gradient of `loss`."""
    optimizer.zero_grad(set_to_none=True)
    scaler.scale(loss).backward()
    scaler.step(optimizer)
    scaler.update()


def target_kimg(config: TrainConfig, data: PackedImages) -> float:
    """Where the run ends, in kimg."""
    if config.epochs is not None:
        return config.epochs * len(data.training_indices) / 1000
    return config.kimg if config.kimg is not None else DEFAULT_KIMG
