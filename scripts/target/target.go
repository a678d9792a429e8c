// Package target lists the Go builds of the agent and which OpenWrt package
// architectures each of them serves.
package target

// Target is one Go build.
type Target struct {
	Name  string   // of the binary: netpilot-agent-NAME
	Env   []string // GOARCH and its kin
	Archs []string // as DISTRIB_ARCH in /etc/openwrt_release
}

// All returns every build there is. An arm name without an FPU's name means
// GOARM=5, whatever the core.
func All() []Target {
	return []Target{
		{"mips", []string{"GOARCH=mips", "GOMIPS=softfloat"}, []string{"mips_24kc", "mips_4kec", "mips_mips32"}},
		{"mipsle", []string{"GOARCH=mipsle", "GOMIPS=softfloat"}, []string{"mipsel_24kc", "mipsel_74kc", "mipsel_mips32", "mipsel_24kc_24kf"}},
		{"mips64", []string{"GOARCH=mips64", "GOMIPS64=softfloat"}, []string{"mips64_octeonplus", "mips64_mips64r2"}},
		{"mips64le", []string{"GOARCH=mips64le", "GOMIPS64=softfloat"}, []string{"mips64el_mips64r2"}},
		{"armv5", []string{"GOARCH=arm", "GOARM=5"},
			[]string{"arm_arm926ej-s", "arm_xscale", "arm_fa526", "arm_cortex-a7", "arm_cortex-a9"}},
		{"armv6", []string{"GOARCH=arm", "GOARM=6"}, []string{"arm_arm1176jzf-s_vfp"}},
		{"armv7", []string{"GOARCH=arm", "GOARM=7"},
			[]string{"arm_cortex-a5_vfpv4", "arm_cortex-a7_vfpv4", "arm_cortex-a7_neon-vfpv4", "arm_cortex-a8_vfpv3",
				"arm_cortex-a9_vfpv3-d16", "arm_cortex-a9_neon", "arm_cortex-a15_neon-vfpv4"}},
		{"arm64", []string{"GOARCH=arm64"}, []string{"aarch64_generic", "aarch64_cortex-a53", "aarch64_cortex-a72", "aarch64_cortex-a76"}},
		{"386", []string{"GOARCH=386", "GO386=softfloat"}, []string{"i386_pentium-mmx", "i386_pentium4"}},
		{"amd64", []string{"GOARCH=amd64"}, []string{"x86_64"}},
		{"riscv64", []string{"GOARCH=riscv64"}, []string{"riscv64_generic", "riscv64_riscv64"}},
		{"loong64", []string{"GOARCH=loong64"}, []string{"loongarch64_generic"}},
	}
}
