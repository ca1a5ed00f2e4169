"""The classes of images by an exported model: python serve_onnx.py model.onnx photo.jpg ..."""

import json
import sys

import numpy as np
import onnxruntime
from PIL import Image

session = onnxruntime.InferenceSession(sys.argv[1])
about = json.loads(session.get_modelmeta().custom_metadata_map["tailwise"])
side, mean, std = about["image_size"], about["normalisation"]["mean"], about["normalisation"]["std"]
for path in sys.argv[2:]:
    image = Image.open(path).convert("RGB")
    if image.size != (side, side):
        full = [int(about["input"]["short_side"] * length / min(image.size)) for length in image.size]
        left, top = (round((length - side) / 2) for length in full)
        image = image.resize(full, Image.Resampling.BILINEAR).crop((left, top, left + side, top + side))
    pixels = np.float32((np.asarray(image) / 255 - mean) / std)
    logits = session.run(None, {"images": pixels.transpose(2, 0, 1)[None]})[0][0] + about["to_uniform"]
    shares = np.exp(logits - logits.max())
    shares = (shares / shares.sum()) ** about["calibration"]["scale"] * np.exp(about["calibration"]["bias"])
    print(path, *(f"{shares[c] / shares.sum():.3f} {about['classes'][c]}" for c in np.argsort(-shares)[:3]), sep="  ")
