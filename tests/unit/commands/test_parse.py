"""From text to pipeline, and the refusals that teach."""

from __future__ import annotations

import pytest

from k8s_mcp_server.commands.parse import CHECKS, parse_command
from k8s_mcp_server.errors import CommandRefused
from k8s_mcp_server.execution.binaries import FILTERS
from k8s_mcp_server.policy.tools import Tool

pytestmark = pytest.mark.unit


@pytest.mark.parametrize(
    "command",
    [
        "get pods",
        "kubectl get pods",
        "kubectl",
        "--help",
        "-n team-a get pods",
        "get pods -nteam-a -Aowide",
        "get pods --all_namespaces",
        "get pods -A=false -n team-a",
        "-n team-a get -- pods",
        "get po/x svc/y -oyaml",
        "get pods -l 'app in (a,b)' -o 'jsonpath={.items[*].metadata.name}'",
        "describe pod x",
        "events -n team-a",
        "wait --for=condition=Ready pod/x --timeout=5s",
        "get pods -w",
        "explain pods --recursive",
        "api-resources",
        "version",
        "version --client",
        "logs x -f --tail 5 -c y -p",
        "logs -f -l app=x",
        "top pods",
        "auth can-i get pods",
        "auth whoami",
        "config view",
        "config current-context",
        "get --raw /api/v1/namespaces/kube-system/pods",
        "get secrets -A",
        "apply -f -",
        "apply -f- --server-side",
        "apply --filename=- --dry-run=server",
        "apply -f /dev/stdin",
        "apply view-last-applied deploy/x",
        "create deployment x --image=b --dry-run=client -o yaml",
        "create rolebinding x --role=r --user=jane",
        "create configmap x --from-file=key=/dev/stdin",
        "create configmap x --from-literal=a=b",
        "create secret docker-registry x --docker-username=u --docker-password=p --docker-server=s",
        "create token default",
        "set subject rolebinding x --user=jane",
        "set image deploy/x c=i",
        "debug node/x --image=b --profile=general",
        "exec x -- id -it --token=y --server z",
        "exec -i x -- sh",
        "run x --image=b --restart=Never -- sh -c 'echo -t'",
        "run x -i --rm --image=b -- sh",
        "rollout status deploy/x --watch=false",
        "annotate pod x note=--token",
        "delete pod x --now --wait=false",
        "edit --help",
        "port-forward -h",
        "patch deploy x -p '{\"spec\":{}}'",
        "get pods -v=9",
        "get pods --request-timeout=0",
        "completion bash",
        "help get",
        "options",
        "--help | head",
    ],
)
def test_what_kubectl_can_do_is_not_refused(command: str) -> None:
    assert parse_command(command, cli=Tool.KUBECTL).stages[0].program == "kubectl"


@pytest.mark.parametrize(
    ("command", "stages"),
    [
        pytest.param("get pods", [("kubectl", "get", "pods")], id="the name is optional"),
        pytest.param("kubectl get pods", [("kubectl", "get", "pods")], id="the name is accepted"),
        pytest.param(
            "create ns x --dry-run=client -o yaml | kubectl apply -f -",
            [("kubectl", "create", "ns", "x", "--dry-run=client", "-o", "yaml"), ("kubectl", "apply", "-f", "-")],
            id="the CLI again as a later stage",
        ),
        pytest.param(
            "get pods | grep Running | wc -l",
            [("kubectl", "get", "pods"), ("grep", "Running"), ("wc", "-l")],
            id="filters",
        ),
    ],
)
def test_stages(command: str, stages: list[tuple[str, ...]]) -> None:
    assert [stage.argv for stage in parse_command(command, cli=Tool.KUBECTL).stages] == stages


def test_a_pipeline_runs_the_cli_three_times_at_most_and_filters_beside_it() -> None:
    three = "get pods -o name | head -5 | kubectl get -f - | grep x | kubectl delete -f - | sort | uniq -c"

    assert len(parse_command(three, cli=Tool.KUBECTL).stages) == 7
    with pytest.raises(CommandRefused, match="3 times; this one runs it 4 times") as refused:
        parse_command(f"{three} | kubectl version", cli=Tool.KUBECTL)
    assert refused.value.reason == "TooManyStages"


@pytest.mark.parametrize("name", FILTERS)
def test_each_filter_may_follow(name: str) -> None:
    assert parse_command(f"get pods | {name}", cli=Tool.KUBECTL).stages[1].program == name


@pytest.mark.parametrize(
    ("command", "reason", "instead"),
    [
        pytest.param("get pods --kubeconfig=/x -A", "FixedTarget", "`kubectl get pods -A`", id="--kubeconfig="),
        pytest.param("get pods --kubeconfig /x -A", "FixedTarget", "`kubectl get pods -A`", id="--kubeconfig"),
        pytest.param("get pods --server https://x", "FixedTarget", "`kubectl get pods`", id="--server"),
        pytest.param("-s https://x get pods", "FixedTarget", "`kubectl get pods`", id="-s"),
        pytest.param("get pods -shttps://x", "FixedTarget", "`kubectl get pods`", id="-sX"),
        pytest.param("get pods -s=https://x", "FixedTarget", "`kubectl get pods`", id="-s="),
        pytest.param("get pods -As https://x", "FixedTarget", "`kubectl get pods`", id="-s in a cluster"),
        pytest.param("get pods --token x", "FixedTarget", "`kubectl get pods`", id="--token"),
        pytest.param("get pods --as admin", "FixedTarget", "`kubectl get pods`", id="--as"),
        pytest.param("get pods --as-group=g", "FixedTarget", "`kubectl get pods`", id="--as-group"),
        pytest.param("get pods --as_group=g", "FixedTarget", "`kubectl get pods`", id="--as_group"),
        pytest.param("get pods --as-uid=0", "FixedTarget", "`kubectl get pods`", id="--as-uid"),
        pytest.param("get pods --as-user-extra=a=b", "FixedTarget", "`kubectl get pods`", id="--as-user-extra"),
        pytest.param("get pods --username=u", "FixedTarget", "`kubectl get pods`", id="--username"),
        pytest.param("get pods --password=p", "FixedTarget", "`kubectl get pods`", id="--password"),
        pytest.param("get pods --context x", "FixedTarget", "`kubectl get pods`", id="--context"),
        pytest.param("get pods --cluster x", "FixedTarget", "`kubectl get pods`", id="--cluster"),
        pytest.param("get pods --user x", "FixedTarget", "`kubectl get pods`", id="--user"),
        pytest.param("get pods --tls-server-name x", "FixedTarget", "`kubectl get pods`", id="--tls-server-name"),
        pytest.param("get pods --certificate-authority=/x", "FixedTarget", "kubectl get pods", id="--certificate-a…"),
        pytest.param("get pods --client-key=/x", "FixedTarget", "`kubectl get pods`", id="--client-key"),
        pytest.param(
            "get pods --client_certificate=/x", "FixedTarget", "`kubectl get pods`", id="--client_certificate"
        ),
        pytest.param("get pods --insecure-skip-tls-verify x", "FixedTarget", "`kubectl get pods x`", id="--insecure…"),
        pytest.param(
            "get pods --insecure_skip_tls_verify=true", "FixedTarget", "`kubectl get pods`", id="--insecure_…"
        ),
        pytest.param("get pods --proxy-url=http://x", "FixedTarget", "`kubectl get pods`", id="--proxy-url"),
        pytest.param("get pods --cache-dir=/x", "FixedTarget", "`kubectl get pods`", id="--cache-dir"),
        pytest.param("get pods --kuberc=/x", "FixedTarget", "`kubectl get pods`", id="--kuberc"),
        pytest.param("get pods --profile=cpu", "FixedTarget", "`kubectl get pods`", id="--profile"),
        pytest.param("get pods --profile-output=/x", "FixedTarget", "`kubectl get pods`", id="--profile-output"),
        pytest.param("get pods | kubectl get -f - --token=x", "FixedTarget", "`kubectl get -f -`", id="a later stage"),
        pytest.param("edit deploy x", "NotAvailable", "patch", id="edit"),
        pytest.param("apply edit-last-applied deploy x", "NotAvailable", "patch", id="apply edit-last-applied"),
        pytest.param("proxy --port=1", "NotAvailable", "get --raw", id="proxy"),
        pytest.param("port-forward svc/x 80", "NotAvailable", "exec", id="port-forward"),
        pytest.param("attach x", "NotAvailable", "logs", id="attach"),
        pytest.param("cp f x:/f", "NoFiles", 'files={"f": "…"}', id="cp of what was not given"),
        pytest.param("cp /etc/passwd x:/f", "NoFiles", 'files={"passwd": "…"}', id="cp of a file here"),
        pytest.param("cp x:/f /tmp/f", "NoFiles", "Write f in place of /tmp/f", id="cp to a file here"),
        pytest.param("cp x:/f ../f", "NoFiles", "Write f in place of ../f", id="cp out of the folder"),
        pytest.param("diff -f x.yaml", "NoFiles", "`kubectl diff -f -`", id="diff"),
        pytest.param("kustomize .", "NoFiles", "kustomization.yaml", id="kustomize"),
        pytest.param("kustomize https://x/y", "NoFiles", "kustomization.yaml", id="kustomize URL"),
        pytest.param("plugin list", "NotAvailable", "own verbs", id="plugin"),
        pytest.param("kuberc set x", "NotAvailable", "flags", id="kuberc"),
        pytest.param("config view --raw", "NotAvailable", "check_access", id="config view --raw"),
        pytest.param("config use-context x", "NotAvailable", "check_access", id="config use-context"),
        pytest.param("config set-credentials x", "NotAvailable", "check_access", id="config set-credentials"),
        pytest.param("exec -it x -- sh -c 'a b'", "NoTerminal", "`kubectl exec x -- sh -c 'a b'`", id="exec -it"),
        pytest.param("exec -i -t x -- sh", "NoTerminal", "`kubectl exec x -- sh`", id="exec -i -t"),
        pytest.param("exec x --stdin --tty -- sh", "NoTerminal", "`kubectl exec x -- sh`", id="exec --tty"),
        pytest.param("run -it x --image=b", "NoTerminal", "`kubectl run -i x --image=b`", id="run -it"),
        pytest.param("debug -ti x --image=b", "NoTerminal", "`kubectl debug -i x --image=b`", id="debug -ti"),
        pytest.param("apply -f x.yaml", "NoFiles", "`kubectl apply -f -`", id="-f FILE"),
        pytest.param("apply -fx.yaml", "NoFiles", "`kubectl apply -f -`", id="-fFILE"),
        pytest.param("delete --filename=x.yaml", "NoFiles", "`kubectl delete -f -`", id="--filename=FILE"),
        pytest.param("apply -Rf dir", "NoFiles", "`kubectl apply -f -`", id="-Rf DIR"),
        pytest.param("apply -f https://x/y", "NoFiles", "`kubectl apply -f -`", id="-f URL"),
        pytest.param("apply -f", "NoFiles", "`kubectl apply -f -`", id="-f without a value"),
        pytest.param("apply -k dir", "NoFiles", "kustomization.yaml", id="-k DIR"),
        pytest.param("apply --kustomize=dir", "NoFiles", "kustomization.yaml", id="--kustomize DIR"),
        pytest.param("apply -f a.yaml,b.yaml", "NoFiles", 'files={"a.yaml": "…"}', id="-f A,B"),
        pytest.param("create cm x --from-file=a=/b", "NoFiles", "--from-file=KEY=/dev/stdin", id="--from-file"),
        pytest.param("create cm x --from-env-file=/b", "NoFiles", "--from-env-file=/dev/stdin", id="--from-env-file"),
        pytest.param("patch x --patch-file=/b", "NoFiles", "--patch-file=/dev/stdin", id="--patch-file"),
        pytest.param("get x -o jsonpath-file=/b", "NoFiles", "jsonpath='…'", id="-o jsonpath-file"),
        pytest.param("get x -ogo-template-file=/b", "NoFiles", "go-template", id="-ogo-template-file"),
        pytest.param("get x --output=custom-columns-file=/b", "NoFiles", "custom-columns", id="--output"),
        pytest.param("gte pods", "UnknownVerb", "`kubectl get pods`", id="a misspelt verb"),
        pytest.param("-n x descibe pod y", "UnknownVerb", "`kubectl -n x describe pod y`", id="behind a flag"),
        pytest.param("krew install x", "UnknownVerb", "verb of kubectl", id="a plugin"),
        pytest.param("__complete get ''", "UnknownVerb", "verb of kubectl", id="a hidden verb"),
        pytest.param("kubectl kubectl get pods", "UnknownVerb", "`kubectl get pods`", id="the name twice"),
        pytest.param("k get pods", "UnknownVerb", "`kubectl get pods`", id="an alias"),
        pytest.param("watch kubectl get pods", "UnknownVerb", "`kubectl get pods`", id="a wrapper"),
        pytest.param("restart deploy/x", "UnknownVerb", "`kubectl rollout restart deploy/x`", id="half a verb"),
        pytest.param("/usr/bin/id get", "UnknownVerb", "verb of kubectl", id="a path"),
        pytest.param("helm list", "WrongTool", "execute_helm", id="another CLI"),
        pytest.param("get pods | helm list", "WrongTool", "execute_helm", id="another CLI later"),
        pytest.param("grep x", "UnknownProgram", "`kubectl … | grep x`", id="a filter first"),
        pytest.param("cat x | kubectl apply -f -", "UnknownProgram", "`kubectl apply -f -`", id="cat first"),
        pytest.param("get pods | python3 -c 1", "UnknownProgram", "Use one of these", id="no filter"),
        pytest.param("get pods | /bin/grep x", "UnknownProgram", "Use one of these", id="a filter by path"),
        pytest.param("get pods | tee x", "UnknownProgram", "`kubectl get pods`", id="tee"),
        pytest.param("get pods | xargs kubectl delete", "UnknownProgram", "second call", id="xargs"),
        pytest.param("get pods | egrep x", "UnknownProgram", "grep -E", id="egrep"),
        pytest.param("get pods; id", "ShellOperator", "`get pods`", id="shell syntax"),
    ],
)
def test_what_is_refused_and_what_to_write_instead(command: str, reason: str, instead: str) -> None:
    with pytest.raises(CommandRefused) as refused:
        parse_command(command, cli=Tool.KUBECTL)
    assert refused.value.reason == reason
    assert instead in refused.value.instead


@pytest.mark.parametrize(
    "command",
    [
        "get pods --kubeconfig=/x -A",
        "get pods -s x",
        "exec -it x -- sh",
        "gte pods",
        "kubectl kubectl get pods",
        "get pods > x",
        "get pods; id",
        "get pods |& wc",
    ],
)
def test_a_rewritten_command_is_accepted(command: str) -> None:
    with pytest.raises(CommandRefused) as refused:
        parse_command(command, cli=Tool.KUBECTL)
    rewritten = refused.value.instead.split("`")[1]
    assert parse_command(rewritten, cli=Tool.KUBECTL).stages


FILES = ("a.yaml", "b.yaml", "base/kustomization.yaml", "base/c.yaml")


@pytest.mark.parametrize(
    "command",
    [
        "apply -f a.yaml",
        "apply -f ./a.yaml",
        "apply -fa.yaml",
        "apply -f a.yaml,b.yaml",
        "apply -f a.yaml -f b.yaml",
        "apply -f .",
        "apply -f base/",
        "apply -Rf base",
        "apply -k base",
        "apply --kustomize=./base",
        "diff -f a.yaml",
        "diff -k base",
        "kustomize base",
        "create cm x --from-file=a.yaml",
        "create cm x --from-file=KEY=a.yaml",
        "patch x --patch-file=a.yaml",
        "get x -o jsonpath-file=a.yaml",
        "cp a.yaml x:/f",
        "cp x:/f f",
        "cp x:/f ./f",
        "delete -f - --help",
    ],
)
def test_what_is_in_the_files_may_be_named(command: str) -> None:
    assert parse_command(command, cli=Tool.KUBECTL, files=FILES).stages


@pytest.mark.parametrize("command", ["apply -f ../a.yaml", "apply -f /a.yaml", "apply -f c.yaml", "apply -k ."])
def test_nothing_beside_the_files_may_be_named(command: str) -> None:
    with pytest.raises(CommandRefused) as refused:
        parse_command(command, cli=Tool.KUBECTL, files=FILES)
    assert refused.value.reason == "NoFiles"


@pytest.mark.parametrize(("command", "helper"), [("diff -f -", "diff"), ("get pods", ""), ("apply -f -", "")])
def test_only_kubectl_diff_may_start_another_program(command: str, helper: str) -> None:
    assert parse_command(command, cli=Tool.KUBECTL).stages[0].helper == helper


@pytest.mark.parametrize("cli", CHECKS)
def test_each_cli_may_be_left_out_of_its_commands(cli: Tool) -> None:
    assert parse_command("version", cli=cli).stages[0].argv == (cli.value, "version")
    assert parse_command(f"{cli} version", cli=cli).stages[0].argv == (cli.value, "version")
