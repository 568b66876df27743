"""A new way to draw: a sampler has `mean`, `guard` and `sample`. This one walks from image to image."""

import torch

import transflow_core as tfc


class Walk:
    guard = None

    def __init__(self, latents: torch.Tensor) -> None:
        self.latents, self.mean = latents, latents.mean(0)

    def sample(self, n: int, seed: int = 0, temperature: float = 1.0, start: int = 0) -> torch.Tensor:
        place = torch.linspace(0, len(self.latents) - 1, n + start)[start:]
        low = place.floor().long().clamp(max=len(self.latents) - 2)
        return torch.lerp(self.latents[low], self.latents[low + 1], (place - low).unsqueeze(1))


engine = tfc.Engine(tfc.load_prior("celeba64"))
posterior = engine.posterior(tfc.find_images(["assets/examples/red_hair"]))
x = engine.sample(Walk(posterior.latents[:4]), 16).images
tfc.contact_sheet(tfc.to_pil(x)).save("walk.png")
