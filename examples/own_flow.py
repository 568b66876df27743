"""Your own flow as a prior: anything with these five members. This one is not trained: a logit."""

import torch

import transflow_core as tfc


class Logit:
    image_size, channels, latent_shapes = 64, 3, ((3, 64, 64),)

    def forward(self, x: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        x = x.flatten(1).clamp(0.01, 0.99)
        return torch.logit(x), -(x.log() + (1 - x).log()).sum(1)

    def inverse(self, z: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        x = torch.sigmoid(z)
        return x.reshape(-1, 3, 64, 64), (x.log() + (1 - x).log()).sum(1)


engine = tfc.Engine(tfc.Prior.from_checkpoint(tfc.adapt_flow(Logit(), name="logit")))
recipe = tfc.Sample(method="posterior", lam_ratio=0.1, n=4)
engine.run(recipe, evidence=tfc.find_images(["assets/examples/greyscale"])).save("own_flow.png")
