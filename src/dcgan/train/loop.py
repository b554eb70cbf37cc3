"""The training loop (Radford, Metz, Chintala 2015, section 3; Goodfellow et al. 2014, algorithm 1).

One step shows the discriminator a batch of real images and a batch of generated ones, then lets the generator
learn from what the discriminator makes of those same generated images.
"""

from __future__ import annotations

import math
import signal
import time
from pathlib import Path
from typing import Any

import torch

from dcgan import __version__
from dcgan.config import TrainConfig
from dcgan.data import PackedImages, training_labels
from dcgan.device import choose_precision
from dcgan.draws import draw_latents, epoch_order, generator_for
from dcgan.errors import DcganError
from dcgan.evaluate import QuickEvaluator
from dcgan.images import to_signed
from dcgan.losses import LOSSES
from dcgan.train.ema import ema_decay, update_average
from dcgan.train.run import checkpoints, publish
from dcgan.train.state import BEST_FILE, METRICS, TrainingState
from dcgan.train.tracking import Tracker

SECONDS_BETWEEN_CHECKPOINTS = 600.0
EPOCHS_BETWEEN_CHECKPOINTS = 3


class Trainer:
    """Takes a run from its state to its end, one step at a time."""

    def __init__(self, config: TrainConfig, data: PackedImages, run: Path, device: torch.device) -> None:
        self.config, self.data, self.run, self.device = config, data, run, device
        self.precision, _ = choose_precision(config.precision, device)
        self.loss = LOSSES[config.loss]
        self.state = TrainingState.start(config, device)
        self.labels = self.learn_labels() if config.labels else None
        """Codes of the training images' labels, M x L, of a conditional model."""
        self.total_images = round(target_kimg(config, data) * 1000)
        self.evaluator: QuickEvaluator | None = None
        """Judges the averaged generator every `evaluate_every` kimg, if that is set."""
        self.logits: dict[str, torch.Tensor] = {}
        self.orders: dict[int, torch.Tensor] = {}
        self.stop_signal: signal.Signals | None = None

    @property
    def images(self) -> int:
        """Real images shown so far."""
        return self.state.step * self.config.batch

    def train(self, tracker: Tracker) -> None:
        """Train until the target is reached, a signal asks to stop, or a loss is no longer finite."""
        state, config = self.state, self.config
        if state.step == 0:
            self.sample(tracker, 0)
        last_log, last_checkpoint = (state.seconds, state.step), state.seconds
        now = time.monotonic()
        while self.images < self.total_images and self.stop_signal is None:
            self.train_step()
            state.seconds += time.monotonic() - now
            now = time.monotonic()
            if self.due(config.log_every):
                seconds, step = last_log
                self.log(tracker, (state.step - step) * config.batch / (state.seconds - seconds))
                last_log = (state.seconds, state.step)
            if self.due(config.sample_every):
                self.sample(tracker, self.images // round(config.sample_every * 1000) * config.sample_every)
            if self.evaluator is not None and self.due(config.evaluate_every or math.inf):
                self.evaluate(tracker, self.evaluator)
                now = time.monotonic()  # training time is what recipes are compared by, and this is none of it
            if self.checkpoint_due(state.seconds - last_checkpoint):
                self.checkpoint(tracker)
                last_checkpoint = state.seconds
        self.checkpoint(tracker)

    def train_step(self) -> None:
        """One step of both networks, on the batch that belongs to this step."""
        state, config = self.state, self.config
        real, real_labels = self.real_images(), self.real_labels()
        latents = self.draw_latents()
        fake_labels = latents[:, config.latent_size :] if config.labels else None
        with self.autocast():
            fake = state.generator(latents)

        # The discriminator: real images should get high logits, generated ones low. The two passes are apart, each
        # with its own BatchNorm statistics, and their gradients add up.
        real_targets, fake_targets = self.targets()
        state.discriminator_optimizer.zero_grad(set_to_none=True)
        real_logits = self.discriminate(real, "noise on real", real_labels)
        real_loss = self.loss.discriminator(real_logits, real_targets)
        real_loss.backward()
        fake_logits = self.discriminate(fake.detach(), "noise on fake", fake_labels)
        fake_loss = self.loss.discriminator(fake_logits, fake_targets)
        fake_loss.backward()
        state.discriminator_optimizer.step()

        # The generator: the same images should get high logits from the discriminator as it is now. It is frozen,
        # as its own gradients would be thrown away: a third of its backward pass for nothing.
        state.discriminator.requires_grad_(False)
        state.generator_optimizer.zero_grad(set_to_none=True)
        updated_logits = self.discriminate(fake, "noise on updated", fake_labels)
        generator_loss = self.loss.generator(updated_logits).mean()
        generator_loss.backward()
        state.generator_optimizer.step()
        state.discriminator.requires_grad_(True)

        state.step += 1
        decay = ema_decay(self.images, config.batch, config.ema_kimg * 1000, config.ema_rampup)
        update_average(state.average, state.generator, decay)

        with torch.no_grad():  # summed on the device: reading a number here would make the processor wait for a GPU
            outputs = [torch.sigmoid(logits).mean() for logits in (real_logits, fake_logits, updated_logits)]
            figures = [real_loss + fake_loss, generator_loss, *outputs, torch.ones_like(generator_loss)]
            state.metric_sums += torch.stack(figures)
        named = {"real": real_logits, "fake": fake_logits, "updated": updated_logits}
        self.logits = {name: logits.detach() for name, logits in named.items()}

    def autocast(self) -> torch.autocast:
        """Lower precision for the networks' arithmetic, where it is fast."""
        return torch.autocast(self.device.type, torch.bfloat16, enabled=self.precision is torch.bfloat16)

    def discriminate(self, images: torch.Tensor, purpose: str, labels: torch.Tensor | None = None) -> torch.Tensor:
        """Logits N, float32, of images N x C x H x W (and codes of labels), with the falling input noise added."""
        share_left = max(0.0, 1 - self.images / (self.config.input_noise_kimg * 1000))
        if self.config.input_noise * share_left > 0:
            noise = torch.randn(images.shape, generator=generator_for(self.config.seed, purpose, self.state.step))
            images = images + self.config.input_noise * share_left * noise.to(self.device)
        with self.autocast():
            logits: torch.Tensor = self.state.discriminator(images, labels)
        return logits.float()

    def draw_latents(self) -> torch.Tensor:
        """This step's latents, N x Z; of a conditional model with the labels of random training images, N x (Z + L)."""
        shape = (self.config.batch, self.config.latent_size)
        draws = generator_for(self.config.seed, "training latents", self.state.step)
        latents = draw_latents(shape, self.config.latent, draws)
        if self.labels is not None:
            draws = generator_for(self.config.seed, "training labels", self.state.step)
            chosen = torch.randint(len(self.labels), shape[:1], generator=draws)
            latents = torch.cat([latents, self.labels[chosen]], 1)
        return latents.to(self.device)

    def learn_labels(self) -> torch.Tensor:
        """Let both generators keep what the training images' labels are like; returns the codes of all, M x L."""
        indices = self.data.training_indices
        values = torch.from_numpy(training_labels(self.data, self.config.labels, indices))
        own, averaged = self.state.generator.code, self.state.average.code
        assert own is not None
        assert averaged is not None
        own.learn(values)
        averaged.learn(values)
        return own.encode(values)

    def targets(self) -> tuple[torch.Tensor, torch.Tensor]:
        """The discriminator's targets for this step's real and fake images, N each: smoothed, and some flipped."""
        draws = generator_for(self.config.seed, "label flips", self.state.step)
        flips = torch.rand(2, self.config.batch, generator=draws) < self.config.label_flip
        real, fake = torch.tensor(self.config.real_label), torch.tensor(0.0)
        targets = torch.stack([torch.where(flips[0], fake, real), torch.where(flips[1], real, fake)])
        real_targets, fake_targets = targets.to(self.device)
        return real_targets, fake_targets

    def places(self) -> torch.Tensor:
        """Places of this step's real images among the training images: the next ones of the epoch's order."""
        count = len(self.data.training_indices)
        epoch, start = divmod(self.images, count)
        positions = torch.arange(start, start + self.config.batch)
        chosen = torch.empty_like(positions)
        for ahead in range(int(positions[-1]) // count + 1):  # a batch may reach into the next epochs
            inside = positions // count == ahead
            chosen[inside] = self.order(epoch + ahead)[positions[inside] % count]
        return chosen

    def real_labels(self) -> torch.Tensor | None:
        """The codes of this step's real images' labels, N x L, for a conditional model."""
        return self.labels[self.places()].to(self.device) if self.labels is not None else None

    def real_images(self) -> torch.Tensor:
        """This step's real images, N x C x H x W in [-1, 1], some mirrored."""
        pixels = torch.from_numpy(self.data.read(self.data.training_indices[self.places().numpy()]))
        if self.device.type == "cuda":
            pixels = pixels.pin_memory()
        pixels = pixels.to(self.device, non_blocking=True)
        if self.config.flip:
            draws = generator_for(self.config.seed, "mirror", self.state.step)
            mirrored = (torch.rand(self.config.batch, generator=draws) < 0.5).to(self.device)
            pixels = torch.where(mirrored[:, None, None, None], pixels.flip(2), pixels)
        return to_signed(pixels)

    def order(self, epoch: int) -> torch.Tensor:
        """The order of the training images in an epoch; only the one in use and the next are kept."""
        if epoch not in self.orders:
            self.orders = {e: order for e, order in self.orders.items() if e == epoch - 1}
            self.orders[epoch] = epoch_order(self.config.seed, epoch, len(self.data.training_indices))
        return self.orders[epoch]

    def due(self, every: float) -> bool:
        """Whether this step passed a multiple of `every` kimg."""
        every_images = max(1, round(every * 1000))
        return self.images // every_images > (self.images - self.config.batch) // every_images

    def checkpoint_due(self, seconds_since_last: float) -> bool:
        """Whether this step ends with a checkpoint."""
        if self.config.checkpoint_every is not None:
            return self.due(self.config.checkpoint_every)
        epochs = EPOCHS_BETWEEN_CHECKPOINTS * len(self.data.training_indices) / 1000
        return seconds_since_last > SECONDS_BETWEEN_CHECKPOINTS or self.due(epochs)

    def log(self, tracker: Tracker, images_per_second: float) -> None:
        """Write the means since the last line; this is where a GPU is waited for."""
        *sums, steps = self.state.metric_sums.tolist()
        record = {
            "step": self.state.step,
            **self.progress(),
            **{name: total / steps for name, total in zip(METRICS, sums, strict=True)},
            "images_per_second": round(images_per_second, 1),
            **self.clock(),
        }
        self.check_finite()
        self.state.metric_sums.zero_()
        tracker.log(record)

    def sample(self, tracker: Tracker, kimg: float) -> None:
        """Write the grid of fixed latents, from the averaged generator."""
        average = self.state.average
        tracker.samples(kimg, average.render(average.grid_latents(self.config.sample_count)), self.logits)

    def evaluate(self, tracker: Tracker, evaluator: QuickEvaluator) -> None:
        """Judge the averaged generator, and keep it if it is the best so far by the first figure (lower is better)."""
        figures = evaluator(self.state.average)
        tracker.log_evaluation({"step": self.state.step, **self.progress(), "evaluation": figures, **self.clock()})
        judged = [next(iter(record["evaluation"].values())) for record in tracker.evaluations()]
        if judged[-1] == min(judged):
            self.state.save_model(self.run / BEST_FILE, self.config.model, {**self.about(), "metrics": figures})

    def checkpoint(self, tracker: Tracker) -> None:
        """Save all that resumes, bring model file, plot and animation up to date, drop old checkpoints."""
        self.check_finite()
        folder = self.run / "checkpoints" / f"{self.state.step:08d}"
        tracker.summarise()
        if not folder.exists():
            self.state.save(folder, self.config.model, self.about(), best=self.run / BEST_FILE)
        publish(folder, self.run, self.config.keep_checkpoints)

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


def target_kimg(config: TrainConfig, data: PackedImages) -> float:
    """Where the run ends, in kimg."""
    if config.epochs is not None:
        return config.epochs * len(data.training_indices) / 1000
    return config.kimg if config.kimg is not None else 1000.0
