package cluster

import (
	"cmp"
	"errors"
	"fmt"
	"io"
	"os"
	"os/user"
	"slices"
	"strconv"
	"time"

	"github.com/spf13/cobra"
	batchv1 "k8s.io/api/batch/v1"
	corev1 "k8s.io/api/core/v1"

	"github.com/otherjamesbrown/ai-aas/tests/load/internal/cli"
	"github.com/otherjamesbrown/ai-aas/tests/load/internal/human"
	"github.com/otherjamesbrown/ai-aas/tests/load/internal/orchestrator"
	"github.com/otherjamesbrown/ai-aas/tests/load/internal/orchestrator/jobs"
	"github.com/otherjamesbrown/ai-aas/tests/load/internal/orchestrator/monitor"
)

func statusCommand() *cobra.Command {
	var p place
	var f format
	cmd := &cobra.Command{
		Use:   "status [RUN]",
		Short: "Say how a run in a cluster stands; without its name, the latest",
		Args:  cobra.MaximumNArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			ctx := cmd.Context()
			c, err := p.connect(cmd, "")
			if err != nil {
				return err
			}
			run := ""
			if len(args) > 0 {
				run = args[0]
			} else if run, err = latest(cmd, c); err != nil {
				return err
			}
			if _, err := c.Job(ctx, run); err != nil {
				return known(err)
			}
			s, _, err := c.Inputs(ctx, run)
			if err != nil {
				return err
			}
			m := &monitor.Monitor{Workers: c.Workers(s), ID: run}
			v, err := m.Look(ctx)
			if err != nil {
				return err
			}
			return f.print(cmd.OutOrStdout(), v, func(w io.Writer) error { return describe(w, v) })
		},
	}
	p.flags(cmd)
	f.flag(cmd)
	return cmd
}

// latest is the run that was started last.
func latest(cmd *cobra.Command, c *orchestrator.Cluster) (string, error) {
	all, err := c.Runs(cmd.Context())
	if err != nil {
		return "", err
	}
	if len(all) == 0 {
		return "", cli.Usage(fmt.Errorf("there are no runs in the namespace %s", c.Namespace))
	}
	return slices.MaxFunc(all, func(a, b batchv1.Job) int { return a.CreationTimestamp.Compare(b.CreationTimestamp.Time) }).Labels[jobs.RunLabel], nil
}

// describe prints a view for people.
func describe(w io.Writer, v monitor.View) error {
	_, _ = fmt.Fprintf(w, "run %s, scenario %s, started %s ago: %s%s\n", v.Run, v.Scenario, ago(v.Started), v.State, detail(v.Detail))
	if v.Stop != "" {
		_, _ = fmt.Fprintf(w, "it is to stop: %s\n", v.Stop)
	}
	if l := v.Leader; l != nil {
		s := l.Snapshot
		_, _ = fmt.Fprintf(w, "%s, %s of %s: %s requests, %s of them errors, %d users\n", cmp.Or(s.Phase, s.Stage), human.Clock(s.Elapsed), human.Clock(s.Total),
			human.Count(s.Totals.Requests), human.Count(s.Totals.Failed+s.Totals.Refused), s.Users)
	} else if m := v.Measured; m != nil {
		_, _ = fmt.Fprintf(w, "by Prometheus: %.0f requests, %.0f of them errors, %.0f users\n", m.Requests, m.Errors, m.Users)
	}
	_, _ = fmt.Fprintf(w, "%d of %d workers have handed over what they measured\n", v.Ended, v.Workers)
	rows := [][]string{{"WORKER", "ATTEMPT", "POD", "STATE", "NODE", "WHY"}}
	for _, p := range v.Pods {
		rows = append(rows, []string{strconv.Itoa(p.Worker), strconv.Itoa(p.Attempt), p.Name, p.Phase, p.Node, p.Why})
	}
	return table(w, rows)
}

func listCommand() *cobra.Command {
	var p place
	var f format
	cmd := &cobra.Command{
		Use:   "list",
		Short: "List the runs in a namespace of a cluster",
		Args:  cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			c, err := p.connect(cmd, "")
			if err != nil {
				return err
			}
			all, err := c.Runs(cmd.Context())
			if err != nil {
				return err
			}
			views := []monitor.View{}
			for i := range all {
				v, err := monitor.Read(&all[i], nil, nil)
				if err != nil {
					p.say("warning: %v\n", err)
					continue
				}
				if v.State == monitor.Waiting { // the pods were not looked at
					v.State, v.Detail = monitor.Running, ""
				}
				views = append(views, v)
			}
			slices.SortFunc(views, func(a, b monitor.View) int { return b.Started.Compare(a.Started) })
			return f.print(cmd.OutOrStdout(), views, func(w io.Writer) error {
				rows := [][]string{{"RUN", "SCENARIO", "WORKERS", "STATE", "STARTED"}}
				for _, v := range views {
					rows = append(rows, []string{v.Run, v.Scenario, strconv.Itoa(v.Workers), string(v.State), ago(v.Started) + " ago"})
				}
				return table(w, rows)
			})
		},
	}
	p.flags(cmd)
	f.flag(cmd)
	return cmd
}

func stopCommand() *cobra.Command {
	var p place
	var reason string
	cmd := &cobra.Command{
		Use:   "stop RUN",
		Short: "End a run in a cluster in order: what was measured counts, the tenants are removed",
		Args:  cobra.ExactArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			c, err := p.connect(cmd, "")
			if err != nil {
				return err
			}
			job, err := c.Job(cmd.Context(), args[0])
			if err != nil {
				return known(err)
			}
			v, err := monitor.Read(job, nil, nil)
			switch {
			case err != nil:
				return err
			case v.State == monitor.Prepared:
				return cli.Usage(fmt.Errorf("run %s has not begun: remove it with: loadtest cleanup --run %s%s", v.Run, v.Run, p.where()))
			case v.State.Over():
				_, err := fmt.Fprintf(cmd.OutOrStdout(), "run %s is over already: %s\n", v.Run, v.State)
				return err
			}
			told, err := c.Stop(cmd.Context(), args[0], reason, who())
			if err != nil {
				return fmt.Errorf("%w\nthe wish is written on the Job: whoever looks with loadtest results --follow tells the others; or say it again", err)
			}
			_, err = fmt.Fprintf(cmd.OutOrStdout(), "told %s of run %s to end; fetch what was measured with: loadtest results %s --follow%s\n", human.Plural(told, "worker"), v.Run, v.Run, p.where())
			return err
		},
	}
	p.flags(cmd)
	cmd.Flags().StringVar(&reason, "reason", "stopped by the user", "why, for the result")
	return cmd
}

// who is who says so, as far as this machine knows.
func who() string {
	host, _ := os.Hostname()
	if u, err := user.Current(); err == nil {
		return u.Username + "@" + host
	}
	return host
}

func logsCommand() *cobra.Command {
	var p place
	var only int
	var follow bool
	cmd := &cobra.Command{
		Use:   "logs RUN",
		Short: "Print what the workers of a run in a cluster have said",
		Args:  cobra.ExactArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			ctx := cmd.Context()
			c, err := p.connect(cmd, "")
			if err != nil {
				return err
			}
			if _, err := c.Job(ctx, args[0]); err != nil {
				return known(err)
			}
			if follow && only < 0 {
				return cli.Usage(errors.New("whose log? --follow needs --worker N"))
			}
			pods, err := c.Pods(ctx, args[0], jobs.Worker)
			if err != nil {
				return err
			}
			slices.SortFunc(pods, func(a, b *corev1.Pod) int {
				return cmp.Or(cmp.Compare(index(a), index(b)), a.CreationTimestamp.Compare(b.CreationTimestamp.Time))
			})
			printed := 0
			var errs []error
			for _, pod := range pods {
				if only >= 0 && index(pod) != only {
					continue
				}
				_, _ = fmt.Fprintf(cmd.ErrOrStderr(), "worker %d, pod %s:\n", index(pod), pod.Name)
				log, err := c.Client.CoreV1().Pods(c.Namespace).GetLogs(pod.Name, &corev1.PodLogOptions{Follow: follow}).Stream(ctx)
				if err != nil {
					errs = append(errs, fmt.Errorf("read the log of the pod %s: %w", pod.Name, err))
					continue
				}
				_, err = io.Copy(cmd.OutOrStdout(), log)
				errs = append(errs, err, log.Close())
				printed++
			}
			if printed == 0 && len(errs) == 0 {
				return cli.Usage(errors.New("there is no pod of it: pods that ended are removed after some time, and then only results --with-logs that were fetched before has their logs"))
			}
			return errors.Join(errs...)
		},
	}
	p.flags(cmd)
	cmd.Flags().IntVar(&only, "worker", -1, "only those of worker `N`, from 0")
	cmd.Flags().BoolVarP(&follow, "follow", "f", false, "go on printing while it runs")
	return cmd
}

func index(p *corev1.Pod) int {
	n, _ := strconv.Atoi(p.Annotations[batchv1.JobCompletionIndexAnnotation]) // the Job controller's own number
	return n
}

// extendCleanup lets the local command look into a cluster, if a flag says so.
func extendCleanup(cmd *cobra.Command) {
	var p place
	var force, keep bool
	local := cmd.RunE
	p.flags(cmd)
	cmd.Flags().BoolVar(&force, "force", false, "in a cluster: end workers that still run, and lose what they measured")
	cmd.Flags().BoolVar(&keep, "keep-tenants", false, "in a cluster: remove the run's objects only, and leave the platform alone")
	cmd.Long += `

With --namespace or --context, the run is one in a cluster: a Job there removes
from the platform what the plan of the run names, and then the run's own objects
are removed.`
	cmd.Example += "\n  loadtest cleanup --run 20261123-101500-4f2a --namespace load-testing"
	cmd.RunE = func(cmd *cobra.Command, args []string) error {
		if p.namespace == "" && p.context == "" {
			if force || keep {
				return cli.Usage(errors.New("--force and --keep-tenants are for runs in a cluster: say --namespace too"))
			}
			return local(cmd, args)
		}
		run := cmd.Flag("run").Value.String()
		if run == "" {
			return cli.Usage(errors.New("which run? say --run ID; loadtest list has them"))
		}
		c, err := p.connect(cmd, "")
		if err != nil {
			return err
		}
		return clean(cmd, &p, c, run, force, keep)
	}
}

func clean(cmd *cobra.Command, p *place, c *orchestrator.Cluster, run string, force, keep bool) error {
	ctx, out := cmd.Context(), cmd.OutOrStdout()
	job, err := c.Job(ctx, run)
	if errors.Is(err, orchestrator.ErrNoRun) && jobs.CheckID(run) == nil {
		_, err := fmt.Fprintf(out, "run %s left nothing in the namespace %s\n", run, c.Namespace)
		return err
	}
	if err != nil {
		return known(err)
	}
	v, err := monitor.Read(job, nil, nil)
	if err != nil {
		return err
	}
	if !force && !v.State.Over() && v.State != monitor.Prepared && job.DeletionTimestamp == nil {
		return cli.Usage(fmt.Errorf("run %s is not over: end it with loadtest stop %s%s, and fetch its results; --force ends it at once and loses them", run, run, p.where()))
	}
	begun, err := c.Begun(ctx, job)
	if err != nil {
		return err
	}
	if force && !v.State.Over() && v.State != monitor.Prepared {
		if err := c.Suspend(ctx, run); err != nil {
			return err
		}
	}
	if !keep && begun {
		said, err := c.RemoveTenants(ctx, job)
		if err != nil {
			return fmt.Errorf("%w\n--keep-tenants removes the run's objects all the same", err)
		}
		if said != "" {
			_, _ = fmt.Fprintln(out, said)
		}
	}
	began := time.Now()
	if err := c.Remove(ctx, run); err != nil {
		return err
	}
	_, err = fmt.Fprintf(out, "run %s is removed from the namespace %s, in %s\n", run, c.Namespace, human.Duration(time.Since(began)))
	return err
}
