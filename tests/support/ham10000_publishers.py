"""A small fake of HAM10000 as it is published: the servers of Dataverse and ISIC, and how to fetch from them."""

from __future__ import annotations

import dataclasses
import hashlib
import io
import json
import zipfile
from collections import deque

import numpy as np
from file_server import Served, redirect
from PIL import Image

from skinclf.datasets._fetch import fetch_checked
from skinclf.datasets._ham10000_sources import DATAVERSE, ISIC, SOURCES
from skinclf.datasets._network import Network

from ham10000_home import CODES, CONFIRMATION, HEADER, IDS, ROWS, SMALL

MASKS = "HAM10000_segmentations_lesion_tschandl.zip"
PART_1, PART_2 = "HAM10000_images_part_1.zip", "HAM10000_images_part_2.zip"
TABLE = "HAM10000_metadata.tab"
NETWORK = Network(n_retries=1, delay=0.0, timeout=5.0, verbose=False)


def jpeg(seed):
    pixels = np.random.default_rng(seed).integers(0, 256, (6, 8, 3), dtype=np.uint8)
    file = io.BytesIO()
    Image.fromarray(pixels).save(file, "JPEG")
    return file.getvalue()


IMAGES = {image_id: jpeg(seed) for seed, image_id in enumerate(IDS)}


def png_mask():
    file = io.BytesIO()
    Image.fromarray(np.eye(6, 8, dtype=np.uint8) * 255).save(file, "PNG")
    return file.getvalue()


def make_zip(members):
    file = io.BytesIO()
    with zipfile.ZipFile(file, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, content in members.items():
            archive.writestr(name, content)
    return file.getvalue()


def table_of(rows, header, delimiter=",", quote=""):
    lines = [delimiter.join(f"{quote}{cell}{quote}" for cell in row) for row in (header, *rows)]
    return ("\n".join(lines) + "\n").encode()


def dataverse_files():
    """Return what is on the Dataverse: name in its list -> bytes, the table as it was uploaded."""
    masks = {f"HAM10000_segmentations_lesion_tschandl/{name}_segmentation.png": png_mask() for name in IDS}
    masks[f"__MACOSX/HAM10000_segmentations_lesion_tschandl/._{IDS[0]}_segmentation.png"] = b"\0Mac"
    return {
        TABLE: table_of(ROWS, HEADER),
        PART_1: make_zip({f"{name}.jpg": IMAGES[name] for name in IDS[:6]}),
        PART_2: make_zip({f"{name}.jpg": IMAGES[name] for name in IDS[6:]}),
        MASKS: make_zip(masks),
        "ISIC2018_Task3_Test_Images.zip": make_zip({"ISIC_0034524.jpg": b"not asked for"}),
    }


LIST = "/api/datasets/:persistentId/?persistentId=doi:10.7910/DVN/DBW86T"


def serve_dataverse(server):
    """Serve the list and the files as the Dataverse at Harvard does: every file by a redirect to a storage.

    Returns the source, and a dict of name to the Served in the storage.
    """
    listed, stored = [], {}
    for number, (name, body) in enumerate(dataverse_files().items(), start=3172582):
        md5 = hashlib.md5(body, usedforsecurity=False).hexdigest()
        described = {"id": number, "filename": name, "filesize": len(body), "md5": md5}
        described["checksum"] = {"type": "MD5", "value": md5}
        asked = f"/api/access/datafile/{number}"
        if name.endswith(".tab"):
            # What Dataverse has taken in is served with tabs, unless the original is asked for.
            with_tabs = table_of(ROWS, HEADER, "\t", '"')
            described |= {
                "originalFileFormat": "text/csv",
                "originalFileSize": len(body),
                "filesize": len(with_tabs),
            }
            server.files[asked] = Served(with_tabs)
            asked += "?format=original"
        stored[name] = Served(body, etag=f'"{md5}-2"')
        server.files[f"/storage/{name}?signature=1"] = stored[name]
        location = f"{server.url}/storage/{name}?signature=1"
        server.files[asked] = Served(b"", faults=_Endless(redirect(location)))
        listed.append({"label": name, "restricted": False, "dataFile": described})
    answer = {"status": "OK", "data": {"latestVersion": {"versionNumber": 4, "files": listed}}}
    server.files[LIST] = Served(json.dumps(answer).encode(), content_type="application/json")
    return dataclasses.replace(DATAVERSE, server=server.url), stored


class _Endless(deque):
    """A fault at every request."""

    def __init__(self, fault):
        super().__init__([fault])

    def popleft(self):
        return self[0]


def serve_isic(server):
    """Serve the training set of ISIC 2018, Task 3, as the storage of ISIC does; return source and files."""
    truth = [(row[1], *("1.0" if code.lower() == row[2] else "0.0" for code in CODES)) for row in ROWS]
    lesions = [(row[1], row[0], CONFIRMATION[row[3]]) for row in ROWS]
    train, folder = "ISIC2018_Task3_Training", "ISIC2018_Task3_Training_Input"
    images = {f"{folder}/{name}.jpg": IMAGES[name] for name in IDS}
    bodies = {
        f"{train}_LesionGroupings.csv": table_of(lesions, ("image", "lesion_id", "diagnosis_confirm_type")),
        f"{train}_GroundTruth.zip": make_zip(
            {f"{train}_GroundTruth/{train}_GroundTruth.csv": table_of(truth, ("image", *CODES))}
        ),
        f"{train}_Input.zip": make_zip({**images, f"{folder}/ATTRIBUTION.txt": b"by the authors"}),
    }
    stored = {}
    for name, body in bodies.items():
        # An object that was uploaded in pieces has an ETag that is no MD5.
        md5 = hashlib.md5(body, usedforsecurity=False).hexdigest()
        etag = f'"{md5}-164"' if name.endswith("Input.zip") else f'"{md5}"'
        stored[name] = server.files[f"/challenges/2018/{name}"] = Served(body, etag=etag)
    return dataclasses.replace(ISIC, server=f"{server.url}/challenges/2018"), stored


def fetch(home, source, *, network=NETWORK, masks=False, download_if_missing=True):
    sources = dict(SOURCES) | {source.name: source}
    return fetch_checked(
        home, source, SMALL, network, masks=masks, download_if_missing=download_if_missing, sources=sources
    )


def left(folder):
    """Return the names of files and folders; the lock file is left or not, as the system likes it."""
    return sorted(path.name for path in folder.iterdir() if path.name != ".skinclf_fetch.lock")


def manifest(home):
    return json.loads((home / "ham10000" / "skinclf_manifest.json").read_text())


def replace(server, stored, name, body):
    """Publish another file under a name: in the storage, and in the list of the Dataverse."""
    stored[name].body = body
    answer = json.loads(server.files[LIST].body)
    for file in answer["data"]["latestVersion"]["files"]:
        if file["label"] == name:
            md5 = hashlib.md5(body, usedforsecurity=False).hexdigest()
            file["dataFile"] |= {"filesize": len(body), "originalFileSize": len(body), "md5": md5}
            file["dataFile"]["checksum"]["value"] = md5
    server.files[LIST].body = json.dumps(answer).encode()
