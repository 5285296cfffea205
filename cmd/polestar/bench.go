package main

import "github.com/spf13/cobra"

func benchCommand() *cobra.Command {
	return &cobra.Command{Use: "bench", Short: "Measure a Polaris-compatible server", Args: cobra.NoArgs}
}
