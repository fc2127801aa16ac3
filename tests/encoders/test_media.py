"""Recordings and images: decoding, and refusal of what is broken or absurd."""

import hashlib
import io
import math
import os
import struct
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import soundfile
from PIL import EpsImagePlugin, Image

from daam_bench.datasets import clips
from daam_bench.datasets.clips import cut_into_clips
from daam_bench.encoders import media
from daam_bench.encoders.media import read_audio, read_image
from daam_bench.errors import DataError, RecordError


def wav(samples, rate=16000, **options):
    buffer = io.BytesIO()
    soundfile.write(buffer, samples, rate, format="WAV", **options)
    return buffer.getvalue()


def image_bytes(image, kind="PNG"):
    buffer = io.BytesIO()
    image.save(buffer, kind)
    return buffer.getvalue()


def audio(content, rate=16000, most=10.0, **row):
    return read_audio({"content": content, **row}, Path(), rate, most)


def picture(content):
    return read_image({"content": content}, Path())


def test_channels_are_averaged():
    stereo = np.stack([np.full(97, 0.5), np.full(97, -0.25)], axis=1)
    assert audio(wav(stereo, subtype="FLOAT")) == pytest.approx(np.full(97, 0.125))


def test_resampling_keeps_a_tone():
    time = np.arange(8000) / 8000
    found = audio(wav(0.3 * np.sin(2 * math.pi * 440 * time), rate=8000, subtype="FLOAT"))
    assert len(found) == 16000
    expected = 0.3 * np.sin(2 * math.pi * 440 * np.arange(16000) / 16000)
    assert np.abs(found - expected)[500:-500].max() < 2e-3


def test_a_clip_is_what_its_bounds_say():
    ramp = np.arange(1000) / 1000
    content = wav(ramp, rate=100, subtype="FLOAT")
    assert audio(content, rate=100, start_second=2.0, stop_second=3.5) == pytest.approx(ramp[200:350])
    assert audio(content, rate=100, start_second=9.5, stop_second=12.0) == pytest.approx(ramp[950:])


NAN = np.zeros(50)
NAN[7] = np.nan


@pytest.mark.parametrize(
    ("content", "reason"),
    [
        (b"", "cannot be read"),
        (b"RIFF\x00\x00", "cannot be read"),
        (wav(np.zeros(100))[:20], "cannot be read"),
        (image_bytes(Image.new("RGB", (3, 3))), "cannot be read"),
        (wav(np.zeros(0)), "length zero"),
        (wav(NAN, subtype="FLOAT"), "not finite"),
        (wav(np.zeros(16000 * 11)), r"longer than 10 s.*clip_seconds"),
        (wav(np.zeros(160)), "silent"),
    ],
)
def test_bad_audio_is_refused(content, reason):
    with pytest.raises(DataError, match=reason):
        audio(content)


def test_a_reason_is_the_same_each_time():
    # It is part of the manifest: what lies where in memory is not.
    for read, said in ((audio, r"Format not recognised\."), (picture, "cannot identify image file")):
        with pytest.raises(DataError, match=rf"cannot be read \({said}\)$"):
            read(b"no such format " * 9)


WAVE = 0.5 * np.sin(np.arange(4001) * 0.1)
KINDS = [
    ("WAV", "PCM_16", "FILE"),
    ("WAV", "PCM_U8", "FILE"),
    ("WAV", "FLOAT", "FILE"),
    ("WAV", "PCM_24", "BIG"),
    ("WAV", "IMA_ADPCM", "FILE"),
    ("WAVEX", "PCM_24", "FILE"),
    ("RF64", "PCM_16", "FILE"),
    ("W64", "PCM_16", "FILE"),
    ("AIFF", "PCM_24", "FILE"),
    ("AU", "PCM_16", "BIG"),
    ("AU", "PCM_16", "LITTLE"),
    ("CAF", "PCM_16", "FILE"),
    ("OGG", "VORBIS", "FILE"),
    ("OGG", "OPUS", "FILE"),
    ("MP3", "MPEG_LAYER_III", "FILE"),
    ("FLAC", "PCM_16", "FILE"),
]


TAG = b"ID3\x03\0\0" + bytes([0, 0, 1, 2]) + bytes(130)  # without one, libsndfile opens no MP3 in memory


def recording(kind, subtype="PCM_16", endian="FILE", wave=WAVE):
    buffer = io.BytesIO()
    soundfile.write(buffer, wave, 16000, format=kind, subtype=subtype, endian=endian)
    return (TAG if kind == "MP3" else b"") + buffer.getvalue()


@pytest.mark.parametrize(("kind", "subtype", "endian"), KINDS)
def test_a_recording_that_is_cut_off_is_refused_and_a_whole_one_is_not(kind, subtype, endian):
    wave = 0.5 * np.sin(np.arange(48000) * 0.05)
    whole = recording(kind, subtype, endian, wave)
    assert len(audio(whole)) >= len(wave)
    for missing in (len(whole) // 2, 2100 if kind == "MP3" else 2):
        with pytest.raises(DataError, match="FLAC|flac|psf_fseek" if kind == "FLAC" else "cut off.*expected"):
            audio(whole[:-missing])


def test_also_a_clip_of_a_recording_that_is_cut_off_is_refused():
    content = wav(WAVE)
    assert len(audio(content, start_second=0.0, stop_second=0.1)) == 1600
    with pytest.raises(DataError, match=r"cut off.*expected 8002 bytes; found 7002 bytes\. Copy it again"):
        audio(content[:-1000], start_second=0.0, stop_second=0.1)


@pytest.mark.parametrize("size", [2**32 - 1, 2**31 - 1, 0x7FFFF000, 0x7F000000])
def test_a_size_that_a_stream_left_open_says_nothing(size):
    content = bytearray(wav(WAVE))
    content[40:44] = struct.pack("<I", size)
    assert len(audio(bytes(content))) == len(WAVE)


def chunk(name, content):
    return name + struct.pack("<I", len(content)) + content + bytes(len(content) % 2)


def test_chunks_around_the_samples_and_their_padding_are_no_cut():
    head = chunk(b"fmt ", struct.pack("<HHIIHH", 1, 1, 16000, 16000, 1, 8))
    samples = chunk(b"data", bytes(range(99)))
    for chunks in (
        head + samples,
        head + samples[:-1],  # without its padding
        chunk(b"JUNK", b"odd") + head + samples + chunk(b"LIST", b"INFO"),
        head + samples + chunk(b"LIST", b"INFO")[:-2],
    ):
        assert len(audio(b"RIFF" + struct.pack("<I", 4 + len(chunks)) + b"WAVE" + chunks)) == 99


def test_what_follows_an_ogg_or_an_mp3_is_no_cut():
    assert len(audio(recording("OGG", "VORBIS") + bytes(99))) == len(WAVE)
    assert len(audio(recording("MP3", "MPEG_LAYER_III") + b"TAG" + bytes(125))) >= len(WAVE)


def test_an_ogg_that_ends_in_the_head_of_a_page_is_cut_off():
    content = recording("OGG", "VORBIS")
    last = content.rfind(b"OggS")
    for more in (1, 3, 4, 26, 27, 28):
        with pytest.raises(DataError, match="cut off"):
            audio(content[: last + more])


def test_chunks_without_end_are_left_to_the_decoder():
    for magic in (b"RIFF", b"riff", b"caff", b"FORM"):
        with pytest.raises(DataError, match="audio cannot be read"):
            audio(magic + bytes(4) + b"WAVE" + bytes(200_000))


def test_a_clip_beyond_the_end_has_length_zero():
    with pytest.raises(DataError, match="length zero"):
        audio(wav(np.zeros(100)), start_second=5.0, stop_second=6.0)


def of_unknown_length(samples, rate):
    buffer = io.BytesIO()
    soundfile.write(buffer, samples, rate, format="FLAC")
    content = bytearray(buffer.getvalue())
    content[21] &= 0xF0  # the 36 bits of the header that tell the number of samples
    content[22:26] = bytes(4)
    return bytes(content)


def test_clips_of_a_stream_that_does_not_know_its_length(tmp_path):
    wave = np.sin(np.arange(23500) * 0.1).astype(np.float32)
    content = of_unknown_length(wave, 8000)
    assert soundfile.info(io.BytesIO(content)).frames > 2**60
    frame = pd.DataFrame({"sample_id": ["a"], "content_key": ["k"], "content": [content]})
    clips = cut_into_clips(frame, tmp_path, 1.0)
    assert clips["stop_second"].tolist() == [1, 2, 3]
    whole = audio(content, rate=8000)
    assert len(whole) == 23500
    parts = [read_audio(row, tmp_path, 8000, 10.0) for row in clips.to_dict("records")]
    assert np.array_equal(np.concatenate(parts), whole)


def test_a_length_that_is_only_claimed_makes_no_clips(tmp_path, monkeypatch):
    content = bytearray(of_unknown_length(np.sin(np.arange(23500) * 0.1), 8000))
    content[21] |= 0x0F
    content[22:26] = b"\xff" * 4  # 2^36 - 1 samples: 99 days
    frame = pd.DataFrame({"sample_id": ["a"], "content_key": ["k"], "content": [bytes(content)]})
    assert len(cut_into_clips(frame, tmp_path, 1.0)) <= 3
    monkeypatch.setattr(clips, "_LONGEST_SECONDS", 2.0)
    frame["content"] = [of_unknown_length(np.sin(np.arange(23500) * 0.1), 8000)]
    (row,) = cut_into_clips(frame, tmp_path, 1.0).to_dict("records")
    with pytest.raises(DataError, match="longer than 2 s"):
        read_audio(row, tmp_path, 8000, 2.0)


def test_a_missing_file_is_refused(tmp_path):
    for reader in (lambda row: read_audio(row, tmp_path, 16000, 1.0), lambda row: read_image(row, tmp_path)):
        with pytest.raises(DataError, match="cannot be read"):
            reader({"file": "gone"})


def test_transparent_becomes_white_and_grey_becomes_rgb():
    clear = Image.new("RGBA", (3, 2), (10, 20, 30, 0))
    assert picture(image_bytes(clear)).getpixel((1, 1)) == (255, 255, 255)
    assert picture(image_bytes(Image.new("L", (3, 2), 77))).getpixel((1, 1)) == (77, 77, 77)


def test_sixteen_bits_are_scaled_not_clipped():
    deep = Image.fromarray(np.array([[0, 32768], [65535, 257]], dtype=np.uint16))
    found = np.asarray(picture(image_bytes(deep)))[..., 0]
    assert found.tolist() == [[0, 127], [255, 1]]


def test_sixteen_bits_are_scaled_by_their_range_not_by_the_picture():
    dark = Image.fromarray(np.array([[0, 2570]], dtype=np.uint16))
    for kind in ("PNG", "TIFF"):
        assert np.asarray(picture(image_bytes(dark, kind)))[..., 0].tolist() == [[0, 10]]


@pytest.mark.parametrize(
    "values",
    [
        np.array([[0.0, 0.5]], np.float32),
        np.array([[0.2, np.nan]], np.float32),
        np.array([[-7, 3]], np.int32),
    ],
)
def test_pixels_of_unknown_range_are_refused(values):
    with pytest.raises(DataError, match=r"32 bits a pixel.*8 or 16 bits"):
        picture(image_bytes(Image.fromarray(values), "TIFF"))


def test_an_eps_under_another_name_starts_no_ghostscript(tmp_path, monkeypatch):
    mark = tmp_path / "started"
    program = tmp_path / "bin" / "gs"
    program.parent.mkdir()
    program.write_text(f"#!/bin/sh\necho $@ > {mark}\n")
    program.chmod(0o755)
    monkeypatch.setenv("PATH", str(program.parent), prepend=os.pathsep)
    monkeypatch.setattr(EpsImagePlugin, "gs_binary", None)
    eps = image_bytes(Image.new("RGB", (8, 8), "red"), "EPS")
    (tmp_path / "x.png").write_bytes(eps)
    with pytest.raises(OSError), Image.open(tmp_path / "x.png") as image:  # PIL itself starts it
        image.load()
    assert mark.exists()
    mark.unlink()
    with pytest.raises(DataError, match="image cannot be read"):
        read_image({"file": "x.png"}, tmp_path)
    assert not mark.exists()


def test_images_are_upright():
    exif = Image.Exif()
    exif[0x0112] = 6  # rotate by 90 degrees
    buffer = io.BytesIO()
    Image.new("RGB", (30, 10)).save(buffer, "JPEG", exif=exif)
    assert picture(buffer.getvalue()).size == (10, 30)


@pytest.mark.parametrize(
    "content",
    [b"", b"\x89PNG\r\n\x1a\n", b"GIF89a", image_bytes(Image.effect_noise((64, 64), 50), "JPEG")[:300]],
)
def test_bad_images_are_refused(content):
    with pytest.raises(DataError, match="image cannot be read"):
        picture(content)


def test_an_absurdly_large_image_is_refused_before_it_is_decoded(monkeypatch):
    monkeypatch.setattr(media, "_MOST_PIXELS", 100)
    with pytest.raises(DataError, match=r"11 x 10 pixels.*at most"):
        picture(image_bytes(Image.new("RGB", (11, 10))))


@pytest.mark.parametrize(("width", "height", "refused"), [(700, 7, False), (7, 700, False), (701, 7, True)])
def test_a_thin_image_is_refused_whose_longer_side_would_be_scaled_to_millions(width, height, refused):
    content = image_bytes(Image.new("RGB", (width, height)))
    if refused:
        with pytest.raises(DataError, match=r"701 x 7 pixels.*100 times the shorter"):
            picture(content)
    else:
        assert picture(content).size == (width, height)


def test_bent_exif_is_a_bad_image_and_no_crash():
    exif = Image.Exif()
    exif[0x0112], exif[0x010F] = 6, "maker"
    whole = image_bytes_with(exif)
    start = whole.index(b"Exif\0\0") + 6
    reasons = set()
    for place in range(start, start + 60):
        for value in (0, 1, 7, 0xFF):
            bent = whole[:place] + bytes([value]) + whole[place + 1 :]
            try:
                picture(bent)
            except DataError as error:
                reasons.add(str(error))
    assert reasons and all("image cannot be read (" in reason for reason in reasons)


@pytest.mark.parametrize("error", [TypeError("bent"), struct.error("bent"), AttributeError("bent")])
def test_whatever_a_decoder_raises_is_a_bad_image(monkeypatch, error):
    def fail(_):
        raise error

    monkeypatch.setattr(media.ImageOps, "exif_transpose", fail)
    with pytest.raises(DataError, match="image cannot be read .bent"):
        picture(image_bytes(Image.new("RGB", (3, 2))))


def image_bytes_with(exif):
    buffer = io.BytesIO()
    Image.new("RGB", (30, 10)).save(buffer, "JPEG", exif=exif)
    return buffer.getvalue()


def test_memory_that_is_lacking_is_no_fault_of_the_image(monkeypatch):
    def fail(_):
        raise MemoryError

    monkeypatch.setattr(media.ImageOps, "exif_transpose", fail)
    with pytest.raises(MemoryError):
        picture(image_bytes(Image.new("RGB", (3, 2))))


def test_bytes_that_are_not_those_that_were_listed_end_the_run(tmp_path):
    content = image_bytes(Image.new("RGB", (3, 2)))
    row = {"sample_id": "a", "content_key": hashlib.sha256(content).hexdigest(), "content": content}
    assert read_image(row, tmp_path).size == (3, 2)
    other = image_bytes(Image.new("RGB", (3, 2), "red"))
    for damage in ({"content": other}, {"content": b""}, {"content_key": "none-" + "0" * 64}):
        with pytest.raises(RecordError, match="a: .*table of samples is damaged.*Delete"):
            read_image(row | damage, tmp_path)


def test_bounds_of_a_clip_are_those_that_were_listed(tmp_path):
    content = wav(np.sin(np.arange(800)), rate=100)
    row = {"content_key": hashlib.sha256(content).hexdigest() + "@2-4", "content": content}
    row |= {"start_second": 2.0, "stop_second": 4.0}
    assert len(read_audio(row, tmp_path, 100, 9.0)) == 200
    with pytest.raises(RecordError, match="damaged"):
        read_audio(row | {"stop_second": 5.0}, tmp_path, 100, 9.0)
