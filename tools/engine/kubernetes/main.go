// The kubernetes plugin, built from its published Go module.
//
// The module carries the schema and the mapping of the Terraform provider's names, but not the files that its own main
// embeds: a generator writes those at release time. tools/engine/kubernetes.py does the generator's part.
package main

import (
	_ "embed"

	"github.com/pulumi/pulumi-kubernetes/provider/v4/pkg/provider"
	"github.com/pulumi/pulumi-kubernetes/provider/v4/pkg/version"
)

//go:embed schema-embed.json
var schema []byte

//go:embed terraform-mapping-embed.json
var terraformMapping []byte

func main() {
	provider.Serve("kubernetes", version.Version, schema, terraformMapping)
}
