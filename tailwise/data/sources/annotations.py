"""Annotations in COCO style, a JSON of ``images``, ``annotations`` and ``categories``, as iNaturalist publishes them."""

import json
from pathlib import Path

from tailwise.types import TailwiseError


def read_annotations(path: Path) -> tuple[list[tuple[str, int]], tuple[str, ...]]:
    """Each image's file name with its class, in the order of ``images``; and the class names.

    Classes are the categories in the order of their ids. Every image has exactly one annotation.
    Raises `TailwiseError` for a file that is no JSON or lacks these fields, for an annotation of an image or a category
    that is not in the file, and for an image with no annotation or with two.
    """
    try:
        content = json.loads(path.read_bytes())
    except (OSError, ValueError, RecursionError) as error:  # ValueError: no JSON, or no UTF-8
        raise TailwiseError(f"{path}: cannot be read as JSON ({error}); download it again") from error
    try:
        files = {image["id"]: str(image["file_name"]) for image in content["images"]}
        names = {category["id"]: str(category["name"]) for category in content["categories"]}
        number = {category: c for c, category in enumerate(sorted(names))}
        labels: dict[int, int] = {}
        for annotation in content["annotations"]:
            image, category = annotation["image_id"], annotation["category_id"]
            if image not in files or category not in number:
                unknown = f"image {image!r}" if image not in files else f"category {category!r}"
                raise TailwiseError(f"{path}: an annotation for {unknown}, which is not in it; download it again")
            if image in labels:
                raise TailwiseError(f"{path}: image {image!r} ({files[image]!r}) has two annotations; download it again")
            labels[image] = number[category]
    except (KeyError, TypeError) as error:
        raise TailwiseError(
            f"{path}: not annotations in COCO style ({type(error).__name__}: {error}); it must hold images (id, file_name), "
            "annotations (image_id, category_id) and categories (id, name)"
        ) from error
    for image, file in files.items():
        if image not in labels:
            raise TailwiseError(f"{path}: image {image!r} ({file!r}) has no annotation; download it again")
    return [(file, labels[image]) for image, file in files.items()], tuple(names[category] for category in number)
