//! Temperatures, and whether the board is short of power or slowed down.

use super::{Values, entries, part, text};
use std::path::Path;

/// What the bits of a Raspberry Pi's firmware mean; 16 places higher: since the start.
const FIRMWARE_BITS: [&str; 4] = [
    "under_voltage",
    "frequency_capped",
    "throttled",
    "soft_temperature_limit",
];
/// Sensors below this and above [`HOTTEST`] are not connected, or broken.
const COLDEST: f64 = -60.0;
/// See [`COLDEST`].
const HOTTEST: f64 = 200.0;

/// Every sensor, degrees Celsius to a tenth, by the name of its chip, and its own where the chip
/// has several.
pub(super) fn temperature(sys: &Path) -> Values {
    let mut values = Values::new();
    for chip in entries(&sys.join("class/hwmon"), "hwmon") {
        let name = part(&text(&chip.join("name")));
        let inputs: Vec<_> = entries(&chip, "temp")
            .into_iter()
            .filter_map(|path| {
                let file = path.file_name()?.to_str()?;
                let own = file.strip_suffix("_input")?.to_owned();
                Some((chip.join(format!("{own}_label")), own, degrees(&path)?))
            })
            .collect();
        let alone = inputs.len() == 1;
        for (label, own, degrees) in inputs {
            let label = part(&text(&label));
            let own = if label.is_empty() { own } else { label };
            let whole = if alone {
                name.clone()
            } else {
                format!("{name}.{own}")
            };
            insert(&mut values, whole, degrees);
        }
    }
    for zone in entries(&sys.join("class/thermal"), "thermal_zone") {
        // Most zones are shown as a chip too, where a dash of their name becomes an underscore.
        let name = part(&text(&zone.join("type"))).replace('-', "_");
        let known = values
            .keys()
            .any(|k| *k == name || k.strip_prefix(&name).is_some_and(|r| r.starts_with('.')));
        if let Some(degrees) = degrees(&zone.join("temp")).filter(|_| !known) {
            insert(&mut values, name, degrees);
        }
    }
    values
}

/// Two sensors may have the same name.
fn insert(values: &mut Values, name: String, degrees: f64) {
    let name = if name.is_empty() {
        "sensor".to_owned()
    } else {
        name
    };
    let mut free = name.clone();
    let mut number = 2;
    while values.contains_key(&free) {
        free = format!("{name}.{number}");
        number += 1;
    }
    values.insert(free, degrees);
}

fn degrees(path: &Path) -> Option<f64> {
    let thousandths: f64 = text(path).trim().parse().ok()?;
    let degrees = (thousandths / 100.0).round() / 10.0;
    (COLDEST..=HOTTEST).contains(&degrees).then_some(degrees)
}

/// What the firmware of a Raspberry Pi says, 0 or 1 each: `under_voltage`, `throttled`,
/// `frequency_capped`, `soft_temperature_limit`, and whether each occurred since the start
/// (`under_voltage_occurred` and so on). From newer kernels only `under_voltage`. Empty on other
/// boards.
pub(super) fn throttling(sys: &Path) -> Values {
    let told = text(&sys.join("devices/platform/soc/soc:firmware/get_throttled"));
    let told = told.trim();
    let digits = told.strip_prefix("0x").unwrap_or(told);
    if let Ok(bits) = u32::from_str_radix(digits, 16) {
        let value = |bit: u32| f64::from(bits >> bit & 1);
        return (0u32..)
            .zip(FIRMWARE_BITS)
            .flat_map(|(bit, name)| {
                [
                    (name.to_owned(), value(bit)),
                    (format!("{name}_occurred"), value(bit + 16)),
                ]
            })
            .collect();
    }
    for chip in entries(&sys.join("class/hwmon"), "hwmon") {
        if text(&chip.join("name")).trim() != "rpi_volt" {
            continue;
        }
        for alarm in entries(&chip, "in") {
            let file = alarm.file_name().and_then(|n| n.to_str()).unwrap_or("");
            if !file.ends_with("_lcrit_alarm") {
                continue;
            }
            if let Ok(on) = text(&alarm).trim().parse::<u8>() {
                let value = f64::from(u8::from(on != 0));
                return Values::from([("under_voltage".to_owned(), value)]);
            }
        }
    }
    Values::new()
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::fs;

    fn sys(files: &[(&str, &str)]) -> tempfile::TempDir {
        let dir = tempfile::tempdir().unwrap();
        for (path, text) in files {
            let path = dir.path().join(path);
            fs::create_dir_all(path.parent().unwrap()).unwrap();
            fs::write(path, text).unwrap();
        }
        dir
    }

    fn values<const N: usize>(all: [(&str, f64); N]) -> Values {
        all.map(|(k, v)| (k.to_owned(), v)).into()
    }

    #[test]
    fn every_sensor_once_by_name() {
        let dir = sys(&[
            ("class/hwmon/hwmon0/name", "cpu_thermal\n"),
            ("class/hwmon/hwmon0/temp1_input", "48312\n"),
            ("class/hwmon/hwmon1/name", "coretemp\n"),
            ("class/hwmon/hwmon1/temp1_input", "51000\n"),
            ("class/hwmon/hwmon1/temp1_label", "Package id 0\n"),
            ("class/hwmon/hwmon1/temp2_input", "49000\n"),
            ("class/hwmon/hwmon1/temp2_max", "100000\n"),
            ("class/hwmon/hwmon2/name", "w1_slave_temp\n"),
            ("class/hwmon/hwmon2/temp1_input", "21062\n"),
            ("class/hwmon/hwmon3/name", "w1_slave_temp\n"),
            ("class/hwmon/hwmon3/temp1_input", "-5500\n"),
            ("class/hwmon/hwmon4/name", "broken\n"),
            ("class/hwmon/hwmon4/temp1_input", "-127000\n"),
            ("class/thermal/thermal_zone0/type", "cpu-thermal\n"),
            ("class/thermal/thermal_zone0/temp", "48312\n"),
            ("class/thermal/thermal_zone1/type", "gpu-thermal\n"),
            ("class/thermal/thermal_zone1/temp", "45000\n"),
            ("class/thermal/cooling_device0/type", "fan\n"),
        ]);
        let expected = values([
            ("cpu_thermal", 48.3),
            ("coretemp.package_id_0", 51.0),
            ("coretemp.temp2", 49.0),
            ("w1_slave_temp", 21.1),
            ("w1_slave_temp.2", -5.5),
            ("gpu_thermal", 45.0),
        ]);
        assert_eq!(temperature(dir.path()), expected);
    }

    #[test]
    fn the_firmware_of_a_raspberry_pi() {
        let path = "devices/platform/soc/soc:firmware/get_throttled";
        let told = |text: &str| throttling(sys(&[(path, text)]).path());
        let mut none = values([]);
        for name in FIRMWARE_BITS {
            none.insert(name.into(), 0.0);
            none.insert(format!("{name}_occurred"), 0.0);
        }
        assert_eq!(told("0\n"), none);
        let mut some = none.clone();
        for name in ["under_voltage", "throttled"] {
            some.insert(name.into(), 1.0);
            some.insert(format!("{name}_occurred"), 1.0);
        }
        assert_eq!(told("50005\n"), some);
        assert_eq!(told("0x50005\n"), some);
        assert_eq!(told("80008\n")["soft_temperature_limit_occurred"], 1.0);
        assert!(told("what\n").is_empty());
    }

    #[test]
    fn newer_kernels_and_other_boards() {
        let volt = |alarm: &str| {
            throttling(
                sys(&[
                    ("class/hwmon/hwmon0/name", "cpu_thermal\n"),
                    ("class/hwmon/hwmon1/name", "rpi_volt\n"),
                    ("class/hwmon/hwmon1/in0_lcrit_alarm", alarm),
                ])
                .path(),
            )
        };
        assert_eq!(volt("1\n"), values([("under_voltage", 1.0)]));
        assert_eq!(volt("0\n"), values([("under_voltage", 0.0)]));
        assert!(throttling(sys(&[]).path()).is_empty());
    }
}
