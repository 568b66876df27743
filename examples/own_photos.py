"""Your own photos: python examples/own_photos.py photos/"""

import sys

import transflow_core as tfc

engine = tfc.Engine(tfc.load_prior())
result = engine.run(tfc.Sample(n=16), evidence=tfc.find_images(sys.argv[1:] or ["assets/examples/sepia"]))
result.save("samples.png")
print(*result.lines, sep="\n")
for sample, closest in enumerate(result.facts["closest"]):
    print(f"sample {sample + 1}: closest to {closest['name']}, distance {closest['distance']:.2f}")
