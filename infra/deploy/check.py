"""What the files for deployment say of each other and of the program; see `check`, which runs it.

    check.py files                      all of that; names what is wrong
    check.py queries PANELS SCRAPE      writes each panel's query as a rule, and kubernetes.yml without what
                                        Debian's promtool is built without
    check.py severities                 of the alerts
"""

import json
import re
import subprocess
import sys
from pathlib import Path
from tempfile import TemporaryDirectory

import yaml

here = Path(__file__).parent
root = here.parent.parent
wrong = []


def text(path):
    return (here / path).read_text()


def documents(path):
    return [one for one in yaml.safe_load_all(text(path)) if one]


def demand(holds, complaint):
    if not holds:
        wrong.append(complaint)


def rules():
    return [rule for group in documents("prometheus/alerts.yml")[0]["groups"] for rule in group["rules"]]


def panels():
    board = json.loads(text("grafana/dashboards/switchyard.json"))
    return [panel for panel in board["panels"] if panel["type"] != "row"]


# ---- metrics


def metrics():
    """The names that the program shows, from where it makes them."""
    source = (root / "gateway/src/metrics.rs").read_text().split("#[cfg(test)]")[0]
    names = set()
    for kind, name in re.findall(r'\b(gauge|counter)\(\s*&mut registry,\s*"(\w+)"', source):
        names.add(f"switchyard_{name}" + ("_total" if kind == "counter" else ""))
    for name, value in re.findall(r'registry\.register\(\s*"(\w+)",\s*(?:"[^"]*"|help),\s*([\w.()]+)', source):
        # Counters are kept where they are counted; what is made here is a gauge, if it does not say else.
        is_counter = value.startswith("metrics.") or f"let {value.rstrip(')')}: Family<CloseLabel, Counter>" in source
        names.add(f"switchyard_{name}" + ("_total" if is_counter else ""))
    for name in re.findall(r'registry\.register_with_unit\(\s*"(\w+)"', source):
        names.add(f"switchyard_{name}_seconds")
    demand(len(names) >= 12, f"gateway/src/metrics.rs is not understood: only {sorted(names)} found")
    return names


def check_metrics():
    known = metrics()
    shown = set()
    for path in [
        "grafana/dashboards/switchyard.json",
        "prometheus/alerts.yml",
        "prometheus/alerts_test.yml",
        "kubernetes/switch",
        "tests/kubectl",
    ]:
        used = {
            re.sub(r"_seconds_(bucket|sum|count)$", "_seconds", name)
            for name in re.findall(r"\bswitchyard_[a-z_]+\b", text(path))
        }
        shown |= used
        for name in sorted(used - known):
            wrong.append(f"{path}: the program has no metric {name}")
    demand(not known - shown, f"nothing shows {sorted(known - shown)}")


# ---- alerts, panels


def check_alerts():
    firing = set()
    for test in documents("prometheus/alerts_test.yml")[0]["tests"]:
        for one in test.get("alert_rule_test", []):
            if one["exp_alerts"]:
                firing.add(one["alertname"])
        for one in test.get("promql_expr_test", []):
            firing |= set(re.findall(r'alertname="(\w+)"', " ".join(s["labels"] for s in one["exp_samples"])))
    for rule in rules():
        name = rule["alert"]
        demand(name in firing, f"alerts_test.yml: no test in which {name} fires")
        demand("severity" in rule["labels"], f"alerts.yml: {name} has no severity")
        demand({"summary", "description"} <= set(rule["annotations"]), f"alerts.yml: {name} says too little")
    muted = re.findall(r"Switchyard\w+", text("alertmanager/alertmanager.yml"))
    names = {rule["alert"] for rule in rules()}
    for name in muted:
        demand(name in names or name == "Switchyard", f"alertmanager.yml: there is no alert {name}")
    held = set(re.findall(r"/run/secrets/(\w+)", text("alertmanager/alertmanager.yml")))
    mounted = set(documents("compose.yaml")[0]["services"]["alertmanager"]["secrets"])
    demand(held <= mounted, f"compose.yaml: alertmanager lacks the secrets {sorted(held - mounted)}")


def check_panels():
    board = json.loads(text("grafana/dashboards/switchyard.json"))
    ids = [panel["id"] for panel in board["panels"]]
    demand(len(ids) == len(set(ids)), "dashboard: two panels have one id")
    demand(all(panel.get("description") and panel["targets"] for panel in panels()), "dashboard: a panel says nothing")
    taken = set()
    for panel in board["panels"]:
        at = panel["gridPos"]
        cells = {(x, y) for x in range(at["x"], at["x"] + at["w"]) for y in range(at["y"], at["y"] + at["h"])}
        demand(not cells & taken and at["x"] + at["w"] <= 24, f"dashboard: {panel['title']} lies on another panel")
        taken |= cells
    source = documents("grafana/provisioning/datasources/prometheus.yaml")[0]["datasources"][0]
    current = board["templating"]["list"][0]["current"]["value"]
    demand(source["uid"] == current, f"dashboard: the data source {current} is not provisioned")
    folder = documents("grafana/provisioning/dashboards/files.yaml")[0]["providers"][0]["options"]["path"]
    mounts = documents("compose.yaml")[0]["services"]["grafana"]["volumes"]
    demand(f"./grafana/dashboards:{folder}:ro" in mounts, f"compose.yaml: dashboards are not at {folder}")


# ---- image


def check_image():
    lines = re.sub(r"\\\n", " ", re.sub(r"(?m)^\s*#.*\n", "", text("Dockerfile"))).splitlines()
    said = [line.split(None, 1) for line in lines if line.strip()]
    for word, rest in said:
        if word == "FROM":
            demand(re.match(r"[\w./-]+:[\w.-]+", rest), f"Dockerfile: FROM {rest} has no version")
        if word == "COPY" and not rest.startswith("--from"):
            for source in rest.split()[:-1]:
                demand((root / source).exists(), f"Dockerfile: there is no {source} to copy")
                kept = text("Dockerfile.dockerignore").splitlines()
                crate = source.split("/")[0]
                demand(
                    f"!{source}" in kept or f"!{crate}" in kept,
                    f"Dockerfile.dockerignore leaves {source} out",
                )
    last = dict(said)  # of each instruction the last one
    demand(re.fullmatch(r"[1-9]\d*:[1-9]\d*", last["USER"]), "Dockerfile: it does not end as a user with a number")
    demand(last.get("STOPSIGNAL") == "SIGTERM", "Dockerfile: STOPSIGNAL")
    demand("HEALTHCHECK" in last, "Dockerfile: HEALTHCHECK")
    rust = re.search(r'rust-version = "([\d.]+)"', (root / "Cargo.toml").read_text())[1]
    demand(f"FROM rust:{rust}-bookworm AS builder" in lines, f"Dockerfile: the builder has not Rust {rust}")
    # In the layer of dependencies every target that a manifest names must be there.
    layer = next(rest for word, rest in said if word == "RUN" and "touch" in rest and "mkdir" in rest)
    members = re.search(r"members = \[(.*?)\]", (root / "Cargo.toml").read_text())[1]
    for member in re.findall(r'"(\w+)"', members):
        manifest = (root / member / "Cargo.toml").read_text()
        needed = [f"{member}/src/lib.rs"]
        for kind, body in re.findall(r"(?ms)^\[\[(bin|test|bench|example)\]\]\n(.*?)(?=^\[|\Z)", manifest):
            path = re.search(r'path = "(.*?)"', body)
            name = re.search(r'name = "(.*?)"', body)[1]
            place = {"bin": "src/bin", "test": "tests", "bench": "benches", "example": "examples"}[kind]
            needed.append(f"{member}/{path[1] if path else f'{place}/{name}.rs'}")
        for path in needed:
            demand(path in layer, f"Dockerfile: the layer of dependencies lacks {path}")
        demand(any(w == "COPY" and f"{member}/Cargo.toml" in r for w, r in said), f"Dockerfile: no manifest of {member}")


# ---- compose


def check_compose():
    compose = documents("compose.yaml")[0]
    for name, service in compose["services"].items():
        image = service["image"]
        demand(image.startswith("$") or re.search(r":[\w.-]*\d", image), f"compose.yaml: {name}: {image} has no version")
        for port in service.get("ports", []):
            demand(port.startswith("127.0.0.1:"), f"compose.yaml: {name} publishes {port}")
            demand(name == "grafana" or name.startswith("node-"), f"compose.yaml: {name} is published")
        for mount in service.get("volumes", []):
            source = mount.split(":")[0]
            if source.startswith("."):
                demand((here / source).exists(), f"compose.yaml: {name}: there is no {source}")
            else:
                demand(source in compose["volumes"], f"compose.yaml: {name}: no volume {source}")
        for secret in service.get("secrets", []):
            secret = secret["source"] if isinstance(secret, dict) else secret
            demand(secret in compose["secrets"], f"compose.yaml: {name}: no secret {secret}")
        for needed, how in service.get("depends_on", {}).items():
            demand(needed in compose["services"], f"compose.yaml: {name} needs {needed}, which is not there")
            if how["condition"] == "service_healthy":
                demand(
                    "healthcheck" in compose["services"].get(needed, {}),
                    f"compose.yaml: {name} waits for the health of {needed}, which has no check",
                )
        for one, value in service.get("environment", {}).items():
            secret = re.search(r"SECRET|PASSWORD|URL|KEY", one)
            demand(
                not secret or one.endswith("_FILE") or one.endswith("__FILE"),
                f"compose.yaml: {name}: {one} belongs into a file",
            )
    with TemporaryDirectory() as folder:
        subprocess.run([here / "make-secrets", folder], check=True, stdout=subprocess.DEVNULL)
        made = {path.name for path in Path(folder).iterdir()}
        mounted = {secret["file"].split("/")[-1] for secret in compose["secrets"].values()}
        demand(made == mounted, f"make-secrets makes {sorted(made)}, compose.yaml mounts {sorted(mounted)}")
    targets = documents("prometheus/prometheus.yml")[0]["scrape_configs"][0]["static_configs"][0]["targets"]
    nodes = [f"{name}:8080" for name in compose["services"] if name.startswith("node-")]
    demand(targets == nodes, f"prometheus.yml scrapes {targets}, compose.yaml has {nodes}")
    demand(len(nodes) == 3, "compose.yaml: not three nodes")


def check_settings():
    """Each variable must be a setting of the program, or it would not start."""
    sources = [*(root / "infra/src/config").glob("*.rs"), root / "gateway/src/config.rs"]
    fields = set(re.findall(r"pub (\w+):", "\n".join(path.read_text() for path in sources)))
    for path in [
        "compose.yaml",
        "Dockerfile",
        "healthcheck",
        "kubernetes/base/config.yaml",
        "kubernetes/switched/blue.yaml",
    ]:
        for variable in sorted(set(re.findall(r"SWITCHYARD__[A-Z_]+", text(path)))):
            for part in variable.split("__")[1:]:
                demand(part.lower() in fields, f"{path}: {variable} is no setting")


# ---- Kubernetes


def check_kubernetes():
    blue, green = text("kubernetes/switched/blue.yaml"), text("kubernetes/switched/green.yaml")
    demand(blue.replace("blue", "\0").replace("green", "blue").replace("\0", "green") == green, "blue.yaml and green.yaml differ")
    everything = {}
    for path in sorted((here / "kubernetes").rglob("*.yaml")):
        for one in documents(path.relative_to(here)):
            place = f"{one['kind']} {one['metadata']['name']}"
            demand(place not in everything, f"{place} is there twice")
            everything[place] = one
            if one["kind"] != "Namespace":
                demand(one["metadata"].get("namespace") == "switchyard", f"{place} is in another namespace")
    for colour in ("blue", "green"):
        spec = everything[f"Deployment switchyard-{colour}"]["spec"]
        labels = spec["template"]["metadata"]["labels"]
        pod = spec["template"]["spec"]
        container = pod["containers"][0]
        demand(spec["selector"]["matchLabels"] == labels, f"{colour}: selector and labels differ")
        demand(everything[f"Service switchyard-{colour}"]["spec"]["selector"] == labels, f"Service of {colour}")
        demand(pod["terminationGracePeriodSeconds"] > 40, f"{colour}: it is ended before it has drained")
        demand("preStop" in container["lifecycle"], f"{colour}: no preStop")
        demand(container["readinessProbe"]["httpGet"]["path"] == "/ready", f"{colour}: readiness")
        demand(container["livenessProbe"]["httpGet"]["path"] == "/live", f"{colour}: liveness")
        demand("requests" in container["resources"] and "limits" in container["resources"], f"{colour}: resources")
        demand(container["securityContext"]["readOnlyRootFilesystem"], f"{colour}: the root may be written")
        limit = int(everything["ConfigMap switchyard"]["data"]["SWITCHYARD__LIMITS__MEMORY_BYTES"])
        demand(container["resources"]["limits"]["memory"] == "2Gi" and limit < 2 << 30, f"{colour}: memory")
    paths = set(re.findall(r'"(/\w+)"', (root / "gateway/src/http/health.rs").read_text()))
    demand({"/ready", "/live", "/health", "/metrics"} <= paths, "health.rs: a path of the probes is not there")
    name = {"app.kubernetes.io/name": "switchyard"}
    demand(everything["PodDisruptionBudget switchyard"]["spec"]["selector"]["matchLabels"] == name, "disruption budget")
    demand(everything["Service switchyard-nodes"]["spec"]["clusterIP"] == "None", "switchyard-nodes is not headless")
    active = everything["Service switchyard"]["spec"]["selector"]["colour"]
    demand(everything["HorizontalPodAutoscaler switchyard"]["spec"]["scaleTargetRef"]["name"] == f"switchyard-{active}", "autoscaler")
    check_route(everything["HTTPRoute switchyard"], everything, active)


def check_route(route, everything, active):
    """By hand: no package has the schemas of the Gateway API."""
    demand(route["apiVersion"] == "gateway.networking.k8s.io/v1", "HTTPRoute: version")
    spec = route["spec"]
    demand(set(spec) == {"parentRefs", "hostnames", "rules"}, "HTTPRoute: fields")
    for rule in spec["rules"]:
        demand(set(rule) <= {"matches", "filters", "backendRefs", "timeouts"}, f"HTTPRoute: a rule has {sorted(rule)}")
        for match in rule["matches"]:
            demand(match["path"]["type"] in ("Exact", "PathPrefix"), "HTTPRoute: type of a path")
            demand(match["path"]["value"].startswith("/"), "HTTPRoute: a path")
    backends = spec["rules"][1]["backendRefs"]
    # `switch` relies on that order.
    demand([b["name"] for b in backends] == ["switchyard-blue", "switchyard-green"], "HTTPRoute: order of the colours")
    demand(sum(b["weight"] for b in backends) == 100, "HTTPRoute: weights are not a hundred")
    for backend in backends:
        service = everything.get(f"Service {backend['name']}")
        demand(service and backend["port"] in [p["port"] for p in service["spec"]["ports"]], f"HTTPRoute: {backend}")
        demand(backend["weight"] == (100 if backend["name"].endswith(active) else 0), "HTTPRoute: weights at first")


# ---- what `check` asks for


def write_queries(panels_to, scrape_to):
    recorded = []
    for panel in panels():
        for target in panel["targets"]:
            query = target["expr"]
            for name, value in {"$__rate_interval": "1m", "$node": ".*", "$kind": ".*"}.items():
                query = query.replace(name, value)
            demand("$" not in query, f"dashboard: {panel['title']}: a variable is not known")
            recorded.append({"record": f"panel:{panel['id']}:{target['refId']}", "expr": query})
    Path(panels_to).write_text(yaml.safe_dump({"groups": [{"name": "panels", "rules": recorded}]}))
    scrape = documents("prometheus/kubernetes.yml")[0]
    for job in scrape["scrape_configs"]:
        job.pop("kubernetes_sd_configs")
    Path(scrape_to).write_text(yaml.safe_dump(scrape))


match sys.argv[1:]:
    case ["files"]:
        check_metrics()
        check_alerts()
        check_panels()
        check_image()
        check_compose()
        check_settings()
        check_kubernetes()
    case ["queries", to, scrape]:
        write_queries(to, scrape)
    case ["severities"]:
        print(*sorted({rule["labels"]["severity"] for rule in rules()}), sep="\n")
    case _:
        sys.exit(__doc__)
if wrong:
    sys.exit("\n".join(wrong))
