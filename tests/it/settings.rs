//! The catalogue of settings and the file that documents it say the same.

use runtime::config::SETTINGS;

#[test]
fn the_example_file_lists_every_setting_with_its_default_and_its_reason() {
    let mut expected = String::from(
        "# Every setting of Plimsoll. Copy to a file of your own and name it in PLIMSOLL_CONFIG, or set what you need in the\n\
         # environment, which outranks the file. A value that is commented out is the default; none means optional.\n\
         # Any setting may be given as NAME_FILE, the path of a file that holds the value.\n",
    );
    for setting in SETTINGS {
        expected.push_str(&format!("\n# {}\n# {}={}\n", setting.why, setting.name, setting.default));
    }
    let path = concat!(env!("CARGO_MANIFEST_DIR"), "/../.env.example");
    let actual = std::fs::read_to_string(path).expect("the example file is there");
    assert_eq!(actual, expected, ".env.example must follow runtime::config::SETTINGS");
}
