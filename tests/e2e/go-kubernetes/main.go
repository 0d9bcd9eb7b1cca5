// A program with client-go's typed clients, as controllers have them: objects go in protobuf where the server takes it.
//
//	client KUBECONFIG NAME          lists, creates, watches, runs a command in the pod `web`, deletes
//	client KUBECONFIG NAME delete   deletes
//
// Prints one JSON object.
package main

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"os"
	"time"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/util/httpstream"
	"k8s.io/client-go/kubernetes"
	"k8s.io/client-go/kubernetes/scheme"
	"k8s.io/client-go/rest"
	"k8s.io/client-go/tools/clientcmd"
	"k8s.io/client-go/tools/remotecommand"
)

func main() {
	found := map[string]any{}
	if err := run(found, os.Args[1], os.Args[2]); err != nil {
		found["error"] = err.Error()
	}
	json.NewEncoder(os.Stdout).Encode(found)
}

func run(found map[string]any, path, name string) error {
	ctx, stop := context.WithTimeout(context.Background(), time.Minute)
	defer stop()
	config, err := clientcmd.BuildConfigFromFlags("", path)
	if err != nil {
		return err
	}
	config.ContentType = "application/vnd.kubernetes.protobuf"
	config.AcceptContentTypes = "application/vnd.kubernetes.protobuf,application/json"
	clients, err := kubernetes.NewForConfig(config)
	if err != nil {
		return err
	}
	maps := clients.CoreV1().ConfigMaps("shop")
	if len(os.Args) > 3 {
		return maps.Delete(ctx, name, metav1.DeleteOptions{})
	}
	listed, err := maps.List(ctx, metav1.ListOptions{})
	if err != nil {
		return err
	}
	names := []string{}
	for _, one := range listed.Items {
		names = append(names, one.Name)
	}
	found["listed"] = names
	watch, err := maps.Watch(ctx, metav1.ListOptions{ResourceVersion: listed.ResourceVersion})
	if err != nil {
		return err
	}
	made := &corev1.ConfigMap{ObjectMeta: metav1.ObjectMeta{Name: name}, Data: map[string]string{"a": "b"}}
	if _, err := maps.Create(ctx, made, metav1.CreateOptions{}); err != nil {
		return err
	}
	for event := range watch.ResultChan() {
		if one, ok := event.Object.(*corev1.ConfigMap); ok && one.Name == name {
			found["watched"] = []string{string(event.Type), one.Data["a"]}
			break
		}
	}
	watch.Stop()
	secrets, err := clients.CoreV1().Secrets("shop").List(ctx, metav1.ListOptions{})
	if err != nil {
		return err
	}
	values := []string{}
	for _, one := range secrets.Items {
		for _, value := range one.Data {
			values = append(values, string(value))
		}
	}
	found["secrets"] = values
	if found["ran"], err = exec(ctx, config, clients, "echo", "from-client-go"); err != nil {
		return err
	}
	_, err = exec(ctx, config, clients, "id")
	found["refused"] = err.Error()
	err = maps.Delete(ctx, name, metav1.DeleteOptions{})
	var told *apierrors.StatusError
	if errors.As(err, &told) {
		found["held"] = []any{told.ErrStatus.Code, told.ErrStatus.Reason, told.ErrStatus.Message}
	}
	return nil
}

func exec(ctx context.Context, config *rest.Config, clients *kubernetes.Clientset, command ...string) (string, error) {
	request := clients.CoreV1().RESTClient().Post().Resource("pods").Namespace("shop").Name("web").SubResource("exec").
		VersionedParams(&corev1.PodExecOptions{Command: command, Stdout: true, Stderr: true}, scheme.ParameterCodec)
	spdy, err := remotecommand.NewSPDYExecutor(config, "POST", request.URL())
	if err != nil {
		return "", err
	}
	websocket, err := remotecommand.NewWebSocketExecutor(config, "GET", request.URL().String())
	if err != nil {
		return "", err
	}
	executor, err := remotecommand.NewFallbackExecutor(websocket, spdy, httpstream.IsUpgradeFailure)
	if err != nil {
		return "", err
	}
	var out, errors bytes.Buffer // two: both are written to at the same time
	err = executor.StreamWithContext(ctx, remotecommand.StreamOptions{Stdout: &out, Stderr: &errors})
	return out.String() + errors.String(), err
}
