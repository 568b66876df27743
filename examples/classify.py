"""Which class? A few images of each are enough, and no training."""

import transflow_core as tfc

engine = tfc.Engine(tfc.load_prior("celeba64"))
sets = {name: tfc.find_images([f"assets/examples/{name}"]) for name in ("greyscale", "sepia", "sketch")}
examples = {name: files[:5] for name, files in sets.items()}
queries = [files[6] for files in sets.values()]
result = engine.run(tfc.Classify(), images=queries, examples=examples)
print(*result.lines, sep="\n")
result.save("classifier.safetensors")
