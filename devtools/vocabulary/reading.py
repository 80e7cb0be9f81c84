"""Commands that change nothing. They run against the objects of ``objects.py``; lines with ``+`` are documented."""

from __future__ import annotations

from devtools.vocabulary.step import Scenario, read_lines

_GET = r"""
+ get pods
+ get pod web
+ get pods --all-namespaces
+ get pods -l app=web --watch @ web
+ get deployments
+ get services,configmaps
+ get secrets
+ get all
+ get events
+ get nodes
+ get namespaces
+ get namespace default
+ get crds
+ get --raw /healthz
+ get -f - < configmap-settings
get pods -o wide
get pods -o name
get pods -o json
get pods -o yaml
get pods --show-labels
get pods --no-headers
get pods -L app
get pods -l app=web
get pods -l 'app in (web, app),!missing'
get pods -l app!=web
get pods --field-selector status.phase=Running
get pods --field-selector metadata.name=web
get pods --field-selector spec.nodeName!=nowhere
get pods --sort-by=.metadata.name
get pods --sort-by=.metadata.creationTimestamp -o wide
get pods -o jsonpath='{range .items[*]}{.metadata.name}{"\t"}{.status.phase}{"\n"}{end}'
get pods -o custom-columns=NAME:.metadata.name,IMAGE:.spec.containers[*].image
get pods -o go-template='{{range .items}}{{.metadata.name}}{{"\n"}}{{end}}'
get pods --chunk-size=1 -o name
get pods --show-kind
get pods --server-print=false
get pods -A -o wide
get pods -A -o json
get pods -A -o yaml
get pods -A -o name
get pods -A --sort-by=.metadata.uid
get pods -A -l app=web
get pods -A --field-selector metadata.namespace={namespace}
get pods -A --chunk-size=2
get pod web -o json
get pod web -o yaml --show-managed-fields
get pod web -o jsonpath={.status.podIP}
get pod/web configmap/settings
get pod web --output-watch-events --watch @ ADDED
get pods web app-0 --ignore-not-found
get all -A -o name
get deployments,replicasets,statefulsets,daemonsets -o wide
get deployment app -o yaml
get jobs,cronjobs
get cronjob nightly -o json
get configmap settings -o yaml
get configmaps -A
get configmaps -A -o json
get secret password -o yaml
get secret password -o jsonpath={.data.a}
get secrets -A -o name
get services -o wide
get endpointslices -o yaml
get ingresses
get networkpolicies -o yaml
get persistentvolumeclaims
get serviceaccounts -A
get roles,rolebindings
get role reader -o yaml
get clusterroles
get clusterrole view -o yaml
get clusterrolebindings -o wide
get horizontalpodautoscalers
get poddisruptionbudgets
get limitranges,resourcequotas
get nodes -o wide
get nodes -o name
get namespaces -o json
get namespaces --show-labels
get namespace kube-system -o yaml
get storageclasses
get priorityclasses
get priorityclass system-node-critical -o yaml
get customresourcedefinitions -o name
get apiservices
get validatingadmissionpolicies,mutatingwebhookconfigurations
get flowschemas -o name
get leases -n kube-node-lease -o name
get ev -o name
get deployment app --subresource=scale
get deployment app --subresource=status -o json
get --raw /api
get --raw /apis/apps/v1
get --raw /livez?verbose
get --raw /api/v1/namespaces/{namespace}/pods/web
get --raw /apis/apps/v1/namespaces/{namespace}/deployments/app/scale
get --raw /openapi/v3
"""

_SHOW = r"""
+ describe pod web
+ describe deployment app
+ describe service web
+ describe node node-000000
+ describe namespace {namespace}
+ describe secret password
+ logs web
+ logs deployment/app
+ logs -l app=web --all-containers
+ events
+ events --for=pod/web
+ explain pods.spec.containers
+ api-resources
+ api-versions
+ version
+ cluster-info
+ cluster-info dump --namespaces {namespace} -o json
+ top pod
+ top pod web --containers
+ top node
top pods
top nodes
rollout status deployment/app
rollout history deployment/app
wait --for=condition=Ready pod/web --timeout=5s
+ auth reconcile --dry-run=client -f - < role
diff -f - < configmap-settings
kustomize {folder}
+ apply view-last-applied configmap/settings
config view --minify -o jsonpath={.contexts[0].name}
config current-context
config get-clusters
config get-contexts
config get-users
describe pods
describe pods -l app=web
describe replicaset -l app=app
describe statefulset base
describe daemonset agent
describe job once
describe cronjob nightly
describe configmap settings
describe serviceaccount builder
describe ingress web
describe networkpolicy web
describe pvc data
describe role reader
describe rolebinding reader
describe clusterrole view
describe hpa app
describe pdb web
describe quota
describe limits
describe priorityclass system-node-critical
describe endpointslices
describe events
logs web -c main --tail=1
logs web --timestamps
logs web --previous=false --limit-bytes=20
logs web --since=1h --prefix
logs web -c none
logs none
events -o json
events --types=Warning
events -A --types=Warning
explain pods
explain deployment.spec.template --recursive
explain cronjobs --api-version=batch/v1
explain pod.spec.nothing
explain nothing
explain --output=plaintext-openapiv2 pods.metadata
api-resources -o wide
api-resources --namespaced=true --verbs=list -o name
api-resources --api-group=apps
version -o json
version --client
rollout status deployment/app --watch=false
rollout status statefulset/base
rollout status daemonset/agent --timeout=5s
rollout history statefulset/base
rollout history deployment/app --revision=1
wait --for=condition=Available deployment/app --timeout=5s
wait --for=jsonpath={.status.phase}=Running pod -l app=web --timeout=5s
wait --for=delete pod/none --timeout=5s
wait --for=create configmap/settings --timeout=5s
completion bash
options
"""

_ERRORS = r"""
get nothing
get pod none
get pods none web
get pods --field-selector nothing=x
get pods --field-selector metadata.name
get pods -l 'a b'
get pods -l 'a in (b'
get pods -o nothing
get pods -o jsonpath={.items[0
get pods --sort-by=.nothing
get pods --chunk-size=-1
get pods --chunk-size=x
get pods.v1.
get pods.v9.none
get deployments.v1.apps app -o name
get pod 'Bad_Name!'
get deployment app --subresource=nothing
get --raw /apis/none.example/v1
get --raw /nothing
get -f - < not-yaml
get -f - < unknown-kind
describe pod none
describe nothing
logs web --limit-bytes=-1
rollout status deployment/none
rollout history configmap/settings
wait --for=condition=Ready pod/none --timeout=1s
wait --for=condition=Never pod/web --timeout=1s
exec none -- true
exec web -c none -- true
exec web -- sh -c 'exit 3'
create -f - --dry-run=server < invalid-pod
create -f - --dry-run=server < unknown-field
create -f - --dry-run=server --validate=warn < unknown-field
create -f - < configmap-settings
apply -f - --dry-run=server < invalid-pod
apply --server-side -f - --dry-run=server < configmap-settings
replace -f - --dry-run=server < configmap-none
patch pod none -p '{}'
patch configmap settings -p '{'
patch configmap settings --type=json -p '[{"op":"remove","path":"/none"}]'
patch configmap settings --dry-run=server -p '{"data":{"a":1}}'
patch service web --dry-run=server -p '{"spec":{"clusterIP":"10.0.0.300"}}'
label pod none a=b
label pod web app=other
annotate pod web 'bad key=b'
delete pod none
delete pod none --ignore-not-found
delete nothing x
scale deployment none --replicas=1
scale deployment app --replicas=1 --current-replicas=7
set image deployment/app none=x
set image deployment/none main=x
autoscale deployment none --max=2
expose deployment none --port=80
expose configmap settings --port=80
taint node none a=b:NoSchedule
cordon none
drain none
certificate approve none
create token none
create token builder --duration=1s
create token builder --bound-object-kind=Pod --bound-object-name=none
create job x --from=cronjob/none
create rolebinding x
rollout undo deployment/none
rollout undo deployment/app --to-revision=99
get pods --as=nobody --as-group=nothing --request-timeout=x
nothing
get
"""

_STREAMS = r"""
+ exec web -- echo hello
+ exec web -i -- sh -c 'read line; echo $line' < text
+ port-forward pod/web :80 @ Forwarding from 127.0.0.1
+ port-forward service/web :80 @ Forwarding from 127.0.0.1
+ cp web:container.log {folder}/copied
+ logs -f web @ simulated container ready
exec deployment/app -- echo hello
exec web -- sh -c 'echo out; echo err >&2'
exec web -c side -- echo hello
"""

# Each names what the policy cannot know, so the gateway refuses it before the API server could say that it is missing.
_UNKNOWN = r"""
get pods -n none
get pod web -n none
get --raw /api/v1/namespaces/{namespace}/nothing
create -f - --dry-run=server < wrong-namespace
auth reconcile --dry-run=client -f - < role-nowhere
"""

# The gateway answers these itself: about the client, where the API server would speak of the service.
_ABOUT_THE_CLIENT = r"""
auth can-i get pods
auth can-i --list
auth whoami
"""

REFUSED: tuple[Scenario, ...] = read_lines(_UNKNOWN)
ANSWERED: tuple[Scenario, ...] = read_lines(_ABOUT_THE_CLIENT)
READING: tuple[Scenario, ...] = read_lines(_GET) + read_lines(_SHOW) + read_lines(_ERRORS) + read_lines(_STREAMS)
