from realm_tf.serving.bundle import READER, read_bundle


def test_script_exports_a_preset(full_preset, script, tmp_path):
    command = ("--preset", full_preset, "--output", tmp_path / "out")
    printed = script("export_savedmodel.py", *command, "--models", "reader")
    assert printed.split() == [READER, "1"]
    bundle = read_bundle(tmp_path / "out")
    assert (bundle.models, bundle.index) == ({READER: 1}, "index")
