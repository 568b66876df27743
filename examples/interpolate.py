"""From one set to another and back, as a GIF (Fig. 3 of the paper)."""

import transflow_core as tfc

engine = tfc.Engine(tfc.load_prior("celeba64"))
a, b = (tfc.find_images([f"assets/examples/{name}"]) for name in ("greyscale", "red_hair"))
result = engine.run(tfc.Interpolate(steps=12, n=4), a=a, b=b)
result.save("path.gif")
result.save("path.png")
