"""Commands that change something: each block runs in order, in one of two namespaces that began alike."""

from __future__ import annotations

from devtools.vocabulary.step import Scenario, read_scenarios

_MANIFESTS = r"""
+ create -f - < configmap-made
+ apply -f - < configmap-made
+ diff -f - < configmap-made-again
apply -f - < configmap-made-again
apply -f - -o yaml --show-managed-fields < configmap-made
+ apply --server-side -f - < configmap-made
apply --server-side -f - -o yaml --show-managed-fields --force-conflicts < configmap-made
apply --server-side --field-manager=other -f - < configmap-made-again
+ replace -f - < configmap-made
+ patch configmap made -p '{"data":{"b":"2"}}'
patch configmap made --type=merge -p '{"data":{"b":null}}' -o yaml --show-managed-fields
patch configmap made --type=json -p '[{"op":"add","path":"/data/c","value":"3"}]'
patch configmap made -p '{}'
+ label configmap made tier=front
label configmap made tier=back
label configmap made tier=back --overwrite
label configmap made tier-
label configmap made tier=x --dry-run=server -o yaml
+ annotate configmap made note=x
annotate configmap made note-
annotate configmap made note=y --resource-version=1
apply view-last-applied configmap made
apply set-last-applied -f - < configmap-made
apply set-last-applied --create-annotation -f - < configmap-made
replace --force -f - < configmap-made
+ delete configmap made
delete configmap made

create -f - < several
apply -f - < several
get -f - < several
apply --prune -l set=several -f - < several-less
delete -f - < several-less
delete -f - --ignore-not-found < several

create configmap words --from-literal=a=1
create configmap words --from-literal=a=1
create configmap dry --from-literal=a=1 --dry-run=server -o yaml
create configmap dry --from-literal=a=1 --dry-run=client -o yaml
+ create secret generic hidden --from-literal=a=1
create secret tls key --cert={folder}/tls.crt --key={folder}/tls.key
create secret docker-registry pull --docker-username=u --docker-password=p --docker-server=example.com
+ create serviceaccount worker
+ create token worker --duration=10m
+ create role viewer --verb=get --resource=pods
+ create rolebinding viewer --role=viewer --serviceaccount={namespace}:worker
create rolebinding edits --clusterrole=edit --user=jane
+ set subject rolebinding viewer --user=joe
+ auth reconcile -f - < role
+ create quota few --hard=configmaps=100
+ create poddisruptionbudget app --selector=app=none --min-available=1
+ create ingress front --rule=example.com/=web:80
create service clusterip inner --tcp=80:8080
create service nodeport outer --tcp=80:8080 --dry-run=server -o name
create service loadbalancer wide --tcp=80:8080 --dry-run=server -o name
create service externalname far --external-name=example.com
delete configmap words
get rolebinding viewer -o jsonpath={.metadata.managedFields[*].manager}
get role reconciled -o jsonpath={.metadata.managedFields[*].manager}
get serviceaccount worker -o jsonpath={.metadata.managedFields[*].manager}
+ delete secret hidden
delete secret pull key
delete rolebinding viewer edits
+ delete role viewer
delete serviceaccount worker
delete quota/few pdb/app ingress/front service/inner service/far
"""

_WORKLOADS = r"""
+ create deployment shop --image=example.com/shop:1 --replicas=2
+ wait --for=condition=Available deployment/shop --timeout=30s
+ rollout status deployment/shop --timeout=30s
+ expose deployment shop --port=80
+ set image deployment/shop shop=example.com/shop:2
wait --for=jsonpath={.status.availableReplicas}=2 deployment/shop --timeout=30s
set env deployment/shop A=b
set env deployment/shop --list
set resources deployment/shop --limits=cpu=1
set serviceaccount deployment shop builder
set selector service shop app=other --dry-run=server -o jsonpath={.spec.selector}
+ rollout history deployment/shop --revision=1
+ rollout undo deployment/shop
+ rollout pause deployment/shop
rollout pause deployment/shop
+ rollout resume deployment/shop
+ rollout restart deployment/shop
+ scale deployment shop --replicas=3
scale deployment shop --replicas=1 --current-replicas=3
scale deployment shop --replicas=0 --timeout=20s
+ autoscale deployment shop --max=3 --cpu=50%
get deployment shop -o jsonpath={.metadata.managedFields[*].manager}
get hpa shop -o jsonpath={.metadata.managedFields[*].manager}
get service shop -o jsonpath={.metadata.managedFields[*].manager}
delete hpa shop
delete service shop
+ delete deployment shop
delete deployment shop

+ run tool --image=example.com/tool:1
wait --for=condition=Ready pod/tool --timeout=30s
run tool --image=example.com/tool:1
run other --image=example.com/tool:1 --dry-run=server -o name
+ label pod tool tier=x
expose pod tool --port=80 --name=tool
+ debug tool --image=example.com/debug:1 --container=debugger --profile=general
get pod tool -o jsonpath={.metadata.managedFields[*].manager}
+ delete pod tool --grace-period=1
delete service tool
run gone --image=example.com/tool:1
+ delete pods -l run=gone

+ create job count --image=example.com/job:1 -- count
+ create cronjob clean --image=example.com/job:1 --schedule='0 0 1 1 *' -- clean
+ create job now --from=cronjob/clean
wait --for=create job/now --timeout=5s
+ delete job count now
+ delete cronjob clean

apply -f - < statefulset
wait --for=jsonpath={.status.availableReplicas}=1 statefulset/queue --timeout=30s
+ rollout status statefulset/queue --timeout=30s
+ scale statefulset queue --replicas=2
+ rollout restart statefulset/queue
+ delete statefulset queue
"""

_CLUSTER = r"""
create -f - < node
+ label node node-{mark} zone=x
+ taint node node-{mark} key=value:NoSchedule
taint node node-{mark} key=value:NoSchedule
taint node node-{mark} key:NoSchedule-
+ cordon node-{mark}
cordon node-{mark}
+ uncordon node-{mark}
get node node-{mark} -o jsonpath={.metadata.managedFields[*].manager}
apply -f - < pod-on-node
wait --for=condition=Ready pod/placed --timeout=30s
+ drain node-{mark} --ignore-daemonsets --force --grace-period=1 --timeout=40s
+ delete node node-{mark}

+ create -f - < signing-request
+ certificate approve csr-{mark}
certificate deny csr-{mark}
get csr csr-{mark} -o jsonpath={.metadata.managedFields[*].manager}
get csr csr-{mark} -o jsonpath={.status.conditions[*].type}
+ delete csr csr-{mark}
create -f - < signing-request
certificate deny csr-{mark}
delete csr csr-{mark}

+ create namespace ns-{mark}
create namespace ns-{mark}
+ label namespace ns-{mark} a=b
+ delete namespace ns-{mark}

+ create clusterrole role-{mark} --verb=get --resource=nodes
+ create clusterrolebinding role-{mark} --clusterrole=role-{mark} --user=jane
create clusterrole paths-{mark} --verb=get --non-resource-url=/healthz
delete clusterrolebinding role-{mark}
+ delete clusterrole role-{mark} paths-{mark}

+ create priorityclass class-{mark} --value=10
+ delete priorityclass class-{mark}

+ apply -f - < volume
patch pv volume-{mark} -p '{"spec":{"capacity":{"storage":"2Gi"}}}'
+ delete pv volume-{mark} --wait=false

+ apply -f - < definition
wait --for=condition=Established crd/things-{mark}.example.com --timeout=20s
+ delete crd things-{mark}.example.com --wait=false
"""

WRITING: tuple[Scenario, ...] = read_scenarios(_WORKLOADS) + read_scenarios(_CLUSTER) + read_scenarios(_MANIFESTS)
