//! What cannot be had is said, at its place.

use super::{read, wrong};

#[test]
fn what_is_wrong_is_said_at_its_place() {
    for (keys, expected) in [
        (
            "    ports: 80\n",
            "4:12 `ports` must be a list, not an integer",
        ),
        (
            "    ports: [{target: 80}]\n",
            "4:13 `80` does not say the port of the node",
        ),
        (
            "    ports: ['80:80', '80:81']\n",
            "4:22 port 80/tcp of the node is published twice",
        ),
        (
            "    network_mode: host\n    ports: ['80:80']\n",
            "5:5 `ports` has no effect with `network = \"host\"`",
        ),
        (
            "    volumes: ['~/x:/x']\n",
            "4:15 `~/x` is not an absolute path",
        ),
        (
            "    volumes: ['/x:/x:shared']\n",
            "4:15 the option `shared` is not supported",
        ),
        (
            "    command: 'a \"b'\n",
            "4:14 the command has a \" without another one",
        ),
        (
            "    deploy: {resources: {limits: {memory: 1k}}}\n",
            "4:43 `memory` must be from 4MiB to 1024TiB",
        ),
        (
            "    labels: {io.fleetctl.x: y}\n",
            "4:14 labels `io.fleetctl.…` are fleetctl's own",
        ),
        (
            "    mem_limit: 64m\n    deploy: {resources: {limits: {memory: 64m}}}\n",
            "5:43 `memory` says again what another key says",
        ),
        (
            "    depends_on: {a: {condition: service_started}}\n",
            "4:18 `a` cannot depend on itself",
        ),
        (
            "    x-fleet: {placment: {on: every}}\n",
            "4:15 unknown key `placment`",
        ),
        (
            "    x-fleet: 1\n",
            "4:14 `x-fleet` must be a map, not an integer",
        ),
        ("    configs: [x]\n", "4:15 the config `x` is not declared"),
        (
            "    env_file: none.env\n",
            "4:15 there is no text file `none.env` of at most 64 KiB beside this one",
        ),
        (
            "    env_file: [../x.env]\n",
            "4:16 `../x.env` is not below the directory of this file",
        ),
        (
            "    volumes: ['./data:/data']\n",
            "4:15 `./data` is no text file of at most 64 KiB beside this one, and the nodes do not \
             have its directory",
        ),
        (
            "    networks: [default]\n    network_mode: host\n",
            "4:5 `networks` and `network_mode` exclude each other",
        ),
        (
            "    links: ['a:b']\n",
            "4:13 `a:b`: a link by another name is not supported",
        ),
        ("    links: [b]\n", "4:13 there is no service `b`"),
        (
            "    security_opt: ['seccomp:profile.json']\n",
            "4:20 `seccomp:profile.json` is not a security option",
        ),
        (
            "    profiles: {a: b}\n",
            "4:15 `profiles` must be a list, not a table",
        ),
    ] {
        assert_eq!(wrong(keys), [expected], "{keys}");
    }
}

#[test]
fn what_is_no_compose_file_is_said() {
    for (text, expected) in [
        ("services: 1\n", "`services` must be a map, not an integer"),
        ("services: {}\n", "there is no service in this file"),
        ("[1]\n", "a Compose file must be a map, not an array"),
        ("version: '3'\n", "there is no service in this file"),
        (
            "services: {a: {image: x}}\n---\nservices: {b: {image: x}}\n",
            "a Compose file is one document, and this text has several",
        ),
    ] {
        let found = read(text).unwrap_err().to_string();
        assert!(found.contains(expected), "{text}: {found}");
    }
}
