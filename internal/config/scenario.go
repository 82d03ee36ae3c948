package config

import (
	"strings"
	"time"

	"github.com/otherjamesbrown/ai-aas/tests/load/internal/secret"
)

// The kinds of document a file may hold.
const (
	KindLoadTestScenario = "LoadTestScenario"
	KindTestScenario     = "TestScenario"
)

// Scenario is one load test: a LoadTestScenario document, and the TestScenario
// documents of the same file. Every default is filled in.
type Scenario struct {
	APIVersion string   `yaml:"apiVersion" required:"true" enum:"loadtest.ai-aas.dev/v1" doc:"The version of the format."`
	Kind       string   `yaml:"kind" required:"true" enum:"LoadTestScenario" doc:"The kind of the document."`
	Metadata   Metadata `yaml:"metadata" required:"true" doc:"What the scenario is called."`
	Spec       Spec     `yaml:"spec" doc:"What is to be done. An empty spec is one user on the embedded platform."`

	TestScenarios []TestScenario `yaml:"-"`

	set      map[string]bool // the canonical paths that the file gave
	warnings []string
}

// Warnings are remarks on a scenario that is valid, each a sentence.
func (s *Scenario) Warnings() []string { return s.warnings }

// Metadata names a document.
type Metadata struct {
	Name        string            `yaml:"name" required:"true" doc:"The name of the scenario, in results and reports."`
	Description string            `yaml:"description" doc:"What it is for, in a sentence."`
	Namespace   string            `yaml:"namespace" default:"load-testing" doc:"The Kubernetes namespace of the workers."`
	TestRunID   string            `yaml:"testRunId" kind:"bare" doc:"Identifies the run in names, metrics and files; made up for each run if it is left out."`
	Labels      map[string]string `yaml:"labels" doc:"Free labels, copied into the result."`
	Annotations map[string]string `yaml:"annotations" doc:"Free remarks, copied into the result."`
}

// Spec is what a load test does.
type Spec struct {
	Seed            *uint64          `yaml:"seed" doc:"Where all randomness starts: the same seed repeats the run. Made up and printed if it is left out."`
	Organizations   Organizations    `yaml:"organizations" doc:"The tenants that are created."`
	Users           Users            `yaml:"users" doc:"The users of each organization."`
	UserBehavior    UserBehavior     `yaml:"userBehavior" doc:"What a user does."`
	LoadPattern     LoadPattern      `yaml:"loadPattern" doc:"How many users are active, and when. Left out, all of them start at once and each ends after its session."`
	TestTypes       TestTypes        `yaml:"testTypes" alias:"test_types" doc:"Kinds of request and their shares. Left out, all are questions as in userBehavior."`
	ModelTargeting  ModelTargeting   `yaml:"modelTargeting" doc:"Which model a question goes to."`
	Looping         Looping          `yaml:"looping" doc:"Whether a user begins again after its session."`
	DocumentLibrary DocumentLibrary  `yaml:"documentLibrary" doc:"Documents that the questions of the test type long are about."`
	CacheSalt       CacheSalt        `yaml:"cacheSalt" doc:"Keeps tenants apart in the prefix cache: sent as the body field cache_salt."`
	Isolation       Isolation        `yaml:"isolation" doc:"Tests whether the platform keeps tenants apart and its promises to each; what is found fails the run. An extension of ours."`
	KeyLifecycle    KeyLifecycle     `yaml:"keyLifecycle" doc:"Keys that are withdrawn while the load runs, to see whether they stop working. An extension of ours."`
	ScenarioMix     ScenarioMix      `yaml:"scenarioMix" doc:"TestScenario documents and their shares. Beside testTypes, each of the two has half of the requests."`
	Workers         Workers          `yaml:"workers" doc:"The processes that the load is spread over."`
	Targets         Targets          `yaml:"targets" doc:"The platform under test. Left out, an embedded, simulated one."`
	Metrics         Metrics          `yaml:"metrics" doc:"Where measurements go while the run lasts."`
	Pricing         map[string]Price `yaml:"pricing" doc:"What a model costs, by its exact name, over the prices that are built in."`
	SLO             SLO              `yaml:"slo" doc:"What the platform promises: the verdict and goodput are judged by it."`
	Limits          Limits           `yaml:"limits" doc:"What ends the run early."`
	Cleanup         Cleanup          `yaml:"cleanup" doc:"What happens afterwards."`
	Advanced        Advanced         `yaml:"advanced" doc:"For special needs."`

	_ struct{} `yaml:"apiKeys" into:"users.apiKeys" doc:"The same as users.apiKeys."`
}

// Distribution names a distribution of random numbers.
type Distribution string

// The distributions. Which of them a field knows, its tag says.
const (
	Uniform     Distribution = "uniform"
	Gaussian    Distribution = "gaussian"
	Exponential Distribution = "exponential"
	Poisson     Distribution = "poisson"
	Random      Distribution = "random"
	Even        Distribution = "even"
	Weighted    Distribution = "weighted"
)

// Organizations are the tenants of a run.
type Organizations struct {
	Count          int               `yaml:"count" default:"1" min:"1" max:"10000" doc:"How many."`
	Distribution   Distribution      `yaml:"distribution" default:"even" enum:"even|weighted|random" doc:"How they spread over the workers: in turn; the largest first, each to whom has the fewest users; or in turn in an order drawn from the seed. Where there are fewer of them than workers, or one has more than twice a worker's share of all users, users are spread instead, evenly. One worker has them all."`
	NamingPattern  string            `yaml:"namingPattern" default:"loadtest-org-{index}" doc:"Their names: {index} counts from 1; {timestamp}, {random} and {run} are replaced too."`
	Budget         Budget            `yaml:"budget" doc:"What each of them may spend, as told to the platform."`
	RateLimit      *RateLimit        `yaml:"rateLimit" doc:"The rate limit of each, where the platform lets one set it."`
	Overrides      []Override        `yaml:"overrides" doc:"Single organizations made different."`
	CustomMetadata map[string]string `yaml:"customMetadata" doc:"Handed to the platform with each organization."`

	_ struct{} `yaml:"namePrefix" into:"namingPattern" suffix:"-{index}" doc:"The part of the name before -{index}: another way to write namingPattern."`
}

// Budget is what an organization may spend. Zero fields are not set.
type Budget struct {
	Limit        MicroUSD `yaml:"limitUSD" alias:"limitUsd" above:"0" doc:"In all, in dollars."`
	Daily        MicroUSD `yaml:"dailyUSD" alias:"dailyUsd" above:"0" doc:"In a day, in dollars."`
	WarnAt       MicroUSD `yaml:"warnAtUSD" alias:"warnAtUsd" above:"0" doc:"Where the platform is to warn, in dollars."`
	EnableAlerts bool     `yaml:"enableAlerts" default:"false" doc:"Whether the platform is to send alerts."`
}

// RateLimit is a token bucket.
type RateLimit struct {
	RequestsPerSecond float64 `yaml:"requestsPerSecond" required:"true" above:"0" max:"1000000" doc:"How fast it fills."`
	Burst             int     `yaml:"burst" min:"1" max:"1000000" doc:"How much it holds; twice requestsPerSecond if it is left out."`
}

// Override makes one organization different. What is nil stays as it is.
type Override struct {
	Index       int           `yaml:"index" required:"true" min:"1" doc:"Which organization, counted from 1."`
	Budget      *Budget       `yaml:"budget" doc:"Its budget, in place of the general one."`
	Users       *UsersPerOrg  `yaml:"users" wrap:"perOrg" doc:"Its number of users, in place of the general one."`
	Models      []ModelWeight `yaml:"models" doc:"Which models its users ask, in place of userBehavior.modelPreferences. An extension of ours."`
	ThinkTime   *ThinkTime    `yaml:"thinkTimeSeconds" doc:"How long its users think, in place of userBehavior.thinkTimeSeconds. An extension of ours."`
	ArrivalRate float64       `yaml:"arrivalRate" above:"0" max:"1000000" doc:"Requests per second of its own under open load, beside arrival.rate, which is then what the others get; phases scale both alike. An extension of ours."`
}

// Users are the users of each organization.
type Users struct {
	PerOrg        UsersPerOrg       `yaml:"perOrg" default:"{min: 1, max: 1}" doc:"How many users an organization has."`
	NamingPattern string            `yaml:"namingPattern" default:"user-{org}-{index}" doc:"Their names: {org} is the organization, {index} counts from 1 in each; {run} is replaced too."`
	Roles         []string          `yaml:"roles" doc:"Handed to the platform with each user."`
	Metadata      map[string]string `yaml:"metadata" doc:"Handed to the platform with each user."`
	APIKeys       APIKeys           `yaml:"apiKeys" doc:"The keys of each user."`

	_ struct{} `yaml:"namePrefix" into:"namingPattern" suffix:"-{org}-{index}" doc:"The part of the name before -{org}-{index}: another way to write namingPattern."`
}

// UsersPerOrg is how many users an organization has.
type UsersPerOrg struct {
	Min          int          `yaml:"min" min:"0" max:"100000" doc:"At least."`
	Max          int          `yaml:"max" min:"1" max:"100000" doc:"At most."`
	Distribution Distribution `yaml:"distribution" default:"random" enum:"random|gaussian|uniform" doc:"random: any number in between; gaussian: rather the middle; uniform: the middle, for all."`
}

// APIKeys are the keys of each user.
type APIKeys struct {
	PerUser    int        `yaml:"perUser" default:"1" min:"1" max:"100" doc:"How many; a user takes them in turn."`
	NamePrefix string     `yaml:"namePrefix" default:"loadtest-key" doc:"What their names begin with."`
	ExpiryDays int        `yaml:"expiryDays" default:"1" min:"0" max:"3650" doc:"When they expire, should the clean-up fail; 0 is never."`
	RateLimit  *RateLimit `yaml:"rateLimit" doc:"The rate limit of each key, beside that of its organization. It is asked for when the key is issued; a run says so in its findings if the platform does not keep it."`
}

// UserBehavior is what a user does.
type UserBehavior struct {
	QuestionsPerSession Questions     `yaml:"questionsPerSession" default:"{min: 5, max: 15}" doc:"How many questions a session has."`
	ThinkTime           ThinkTime     `yaml:"thinkTimeSeconds" default:"{min: 1, max: 5}" doc:"The pause before the next question, in seconds."`
	SessionDuration     Session       `yaml:"sessionDuration" doc:"When a session ends, although there are questions left. Left out, it does not."`
	QuestionStrategies  []Strategy    `yaml:"questionStrategies" default:"[{name: mixed}]" doc:"What the questions are about, and the shares."`
	ModelPreferences    []ModelWeight `yaml:"modelPreferences" doc:"Which models are asked, and the shares. Left out: sim-small on the embedded platform, else the models that modelTargeting names, else what the platform lists."`
	MaxTokens           Spread        `yaml:"maxTokensPerRequest" default:"{base: 256}" doc:"The longest answer that is asked for, in tokens."`
	Temperature         *Spread       `yaml:"temperature" doc:"The sampling temperature. Left out, the model's own."`
	StreamingRatio      float64       `yaml:"streamingRatio" unit:"ratio" default:"1" doc:"The share of requests that ask for a streamed answer; the time to the first token is known of these only. An extension of ours."`
	Conversation        Conversation  `yaml:"conversationStyle" doc:"Follow-up questions."`
	ErrorHandling       ErrorHandling `yaml:"errorHandling" doc:"What a user does about a failure."`
}

// Questions is a number of questions.
type Questions struct {
	Min          int          `yaml:"min" min:"1" max:"1000000" doc:"At least."`
	Max          int          `yaml:"max" min:"1" max:"1000000" doc:"At most."`
	Distribution Distribution `yaml:"distribution" default:"uniform" enum:"gaussian|uniform|poisson" doc:"gaussian: rather the middle; poisson: the middle on average, kept within the range."`
}

// ThinkTime is a random pause, always between Min and Max:
//
//	uniform      anything from Base−Variance to Base+Variance
//	gaussian     around Base, with the standard deviation Variance
//	exponential  Base on average; Variance is not used
//
// All fields are settled, whichever of them the file gave.
type ThinkTime struct {
	Base         time.Duration `yaml:"base" unit:"s" doc:"The middle; left out, halfway between min and max."`
	Variance     time.Duration `yaml:"variance" unit:"s" doc:"How far from it: the half-width if uniform, the standard deviation if gaussian."`
	Min          time.Duration `yaml:"min" unit:"s" doc:"Never less."`
	Max          time.Duration `yaml:"max" unit:"s" doc:"Never more."`
	Distribution Distribution  `yaml:"distribution" default:"uniform" enum:"uniform|gaussian|exponential" doc:"The distribution."`
}

// Spread is a random number, drawn as [ThinkTime] is.
type Spread struct {
	Base         float64      `yaml:"base" min:"0" max:"1000000" doc:"The middle; left out, halfway between min and max."`
	Variance     float64      `yaml:"variance" min:"0" max:"1000000" doc:"How far from it: the half-width if uniform, the standard deviation if gaussian."`
	Min          float64      `yaml:"min" min:"0" max:"1000000" doc:"Never less."`
	Max          float64      `yaml:"max" min:"0" max:"1000000" doc:"Never more."`
	Distribution Distribution `yaml:"distribution" default:"uniform" enum:"uniform|gaussian|exponential" doc:"The distribution."`
}

// Session is how long a session may last. A Max of zero is no bound.
type Session struct {
	Min          time.Duration `yaml:"min" unit:"s" doc:"At least: the bound of a user is drawn from min to max."`
	Max          time.Duration `yaml:"max" unit:"s" doc:"At most."`
	Distribution Distribution  `yaml:"distribution" default:"uniform" enum:"uniform|gaussian" doc:"The distribution."`

	_ struct{} `yaml:"unit" into:"-" enum:"seconds=s|minutes=m|hours=h" doc:"What plain numbers in min and max count; seconds if it is left out."`
}

// Strategy is a way to make questions, and its share.
type Strategy struct {
	Name   string  `yaml:"name" required:"true" doc:"mixed, historical, mathematical, geographical, hypothetical, technical, or the name of one of advanced.questionTemplates."`
	Weight float64 `yaml:"weight" default:"1" min:"0" max:"1000000000" doc:"Its share, over the sum of all weights."`
}

// Strategies are the built-in question strategies.
var Strategies = []string{"mixed", "historical", "mathematical", "geographical", "hypothetical", "technical"}

// ModelWeight is a model and its share.
type ModelWeight struct {
	Model  string  `yaml:"model" required:"true" doc:"The name, as the platform knows it."`
	Weight float64 `yaml:"weight" default:"1" min:"0" max:"1000000000" doc:"Its share, over the sum of all weights."`
}

// Conversation says how questions hang together.
type Conversation struct {
	MultiTurnProbability float64 `yaml:"multiTurnProbability" unit:"ratio" default:"0" doc:"How likely it is that a question opens a conversation."`
	Turns                Turns   `yaml:"turnsPerConversation" default:"{min: 2, max: 5}" doc:"How many questions a conversation has."`
	ContextRetention     bool    `yaml:"contextRetention" default:"true" doc:"Whether earlier turns are sent along."`
}

// Turns is a number of turns.
type Turns struct {
	Min int `yaml:"min" min:"1" max:"1000" doc:"At least."`
	Max int `yaml:"max" min:"1" max:"1000" doc:"At most."`
}

// ErrorHandling is what a user does about a failure.
type ErrorHandling struct {
	RetryAttempts    int           `yaml:"retryAttempts" default:"2" min:"0" max:"20" doc:"How often a request that failed for a passing reason is sent again."`
	RetryBackoff     time.Duration `yaml:"retryBackoffMs" unit:"ms" default:"500" doc:"The pause before the first retry, in milliseconds; it doubles, with jitter."`
	IgnoreErrorCodes []int         `yaml:"ignoreErrorCodes" min:"100" max:"599" doc:"HTTP statuses that are expected: not tried again, and no reason to give up. They still count as errors."`
	StopOnErrors     int           `yaml:"stopOnErrors" default:"0" min:"0" max:"1000000000" doc:"After how many failures a user gives up; 0 is never."`
}

// PatternType is a shape of load.
type PatternType string

// The types of load pattern.
const (
	RampUp    PatternType = "ramp-up"
	Steady    PatternType = "steady"
	Sustained PatternType = "sustained"
	Spike     PatternType = "spike"
	Wave      PatternType = "wave"
	StepLoad  PatternType = "step"
	Custom    PatternType = "custom"
)

// Ramp is how the number of users moves to a phase's target.
type Ramp string

// The ramps. The values are those of package loadpattern.
const (
	NoRamp          Ramp = "" // at once; "none" in a file
	LinearRamp      Ramp = "linear"
	ExponentialRamp Ramp = "exponential"
	SmoothRamp      Ramp = "smooth"
	StepRamp        Ramp = "step"
)

// LoadPattern is how many users are active, and when. Without phases all
// users start at once, and the load is over when all sessions are.
type LoadPattern struct {
	Type    PatternType `yaml:"type" enum:"ramp-up|steady|sustained|spike|wave|step|custom" doc:"Decides how phases without a rampStrategy begin: linear for ramp-up and custom, smooth for wave, at once for the others. Under sustained, a user who has finished is replaced. Left out: steady without phases, custom with them."`
	Phases  []Phase     `yaml:"phases" doc:"What happens one after the other."`
	Repeat  int         `yaml:"repeat" default:"1" min:"1" max:"100" doc:"How often the phases are run, from the first to the last that counts for the verdict; those before and after are run once. An extension of ours."`
	Arrival Arrival     `yaml:"arrival" doc:"What makes a request begin."`
}

// Phase is a stretch of a run.
type Phase struct {
	Name         string        `yaml:"name" doc:"Labels the phase in records and reports; phase-1, phase-2 … if it is left out."`
	Duration     time.Duration `yaml:"duration" required:"true" above:"0" doc:"How long it lasts."`
	Users        UserCount     `yaml:"targetActiveUsers" default:"all" doc:"How many users are active at its end: a number, or all."`
	TargetRate   *float64      `yaml:"targetRate" min:"0" max:"1000000" doc:"How many requests arrive per second at its end, under open load. Left out, arrival.rate, or less by as much as targetActiveUsers is less than in the phase with the most. An extension of ours."`
	RampStrategy Ramp          `yaml:"rampStrategy" enum:"linear|exponential|smooth|step|=none" doc:"How the number moves there from the phase before; none is at once."`
	Steps        int           `yaml:"steps" min:"1" max:"1000" doc:"How many steps there are, if rampStrategy is step; 5 if left out. An extension of ours."`
	Measure      bool          `yaml:"measure" doc:"Whether it counts for the verdict: true, except for phases named warm-up or cool-down. An extension of ours."`
}

// ArrivalModel says what makes a request begin.
type ArrivalModel string

// The arrival models.
const (
	Closed ArrivalModel = "closed" // a user asks again when it has its answer
	Open   ArrivalModel = "open"   // requests arrive at a rate, whatever the answers do
)

// Process is a process of arrivals.
type Process string

// The processes of open arrivals.
const (
	ConstantArrivals Process = "constant"
	PoissonArrivals  Process = "poisson"
)

// Arrival is what makes a request begin.
type Arrival struct {
	Model   ArrivalModel `yaml:"model" default:"closed" enum:"closed|open" doc:"closed: a user asks again when it has its answer; open: requests arrive at a rate, whatever the answers do."`
	Rate    float64      `yaml:"rate" above:"0" max:"1000000" doc:"Requests per second, if open: of all organizations without an arrivalRate of their own together."`
	Process Process      `yaml:"process" default:"poisson" enum:"constant|poisson" doc:"How they arrive, if open."`
}

// CacheBehavior is what a test type wants of the platform's cache.
type CacheBehavior string

// The cache behaviours.
const (
	AvoidCache  CacheBehavior = "avoid"
	PreferCache CacheBehavior = "prefer"
	MixedCache  CacheBehavior = "mixed"
)

// TestTypes are kinds of request and their shares. A file may also write them
// as {distribution: {random_short: 60, …}}, which becomes one TestType an entry.
type TestTypes []TestType

// TestType is a kind of request, and its share.
type TestType struct {
	Name              string          `yaml:"name" required:"true" doc:"random_short, long, cached, or a name of your own."`
	Weight            float64         `yaml:"weight" default:"1" min:"0" max:"1000000000" doc:"Its share, over the sum of all weights."`
	Endpoint          string          `yaml:"endpoint" default:"chat" enum:"chat|completions|embeddings|responses|models|org-create|org-read|org-patch|org-list|user-invite|user-suspend|key-issue|key-rotate|key-revoke" doc:"What it asks; responses is the Responses API, models the list of models, and those that begin with org, user or key are operations of the User/Org API. An extension of ours."`
	QuestionStrategy  string          `yaml:"questionStrategy" doc:"How its questions are made; left out, by questionStrategies, or, for long, by tasks about the document."`
	CacheBehavior     CacheBehavior   `yaml:"cacheBehavior" default:"mixed" enum:"avoid|prefer|mixed" doc:"avoid: every question begins in a way of its own and stands alone, so that no cache helps; prefer: a few questions with one long beginning come again and again; mixed: as they come. Left out: avoid for random_short, prefer for cached."`
	CacheSalt         string          `yaml:"cacheSalt" doc:"A salt of its own, for all tenants."`
	ModelPreferences  []ModelWeight   `yaml:"modelPreferences" doc:"Models of its own, and their shares. An extension of ours."`
	ModelTargeting    ModelTargeting  `yaml:"modelTargeting" doc:"Which of other models its questions go to."`
	DocumentLibrary   DocumentLibrary `yaml:"documentLibrary" doc:"Documents that its questions are about; what it leaves out is as in spec.documentLibrary."`
	ContinuousLoop    bool            `yaml:"continuousLoop" default:"false" doc:"Turns looping on, unless that says otherwise: users begin again with a new seed."`
	StreamingResponse *bool           `yaml:"streamingResponse" doc:"Whether answers are streamed; left out, by streamingRatio."`
}

// Manages reports whether the type's requests go to the User/Org API.
func (t *TestType) Manages() bool {
	for _, of := range []string{"org-", "user-", "key-"} {
		if strings.HasPrefix(t.Endpoint, of) {
			return true
		}
	}
	return false
}

// ModelTargeting says which model a question goes to.
type ModelTargeting struct {
	Enabled      bool         `yaml:"enabled" default:"false" doc:"Whether it applies; in a test type, naming models is enough."`
	SLMModels    []string     `yaml:"slmModels" doc:"Small models."`
	MediumModels []string     `yaml:"mediumModels" doc:"Medium models."`
	Rules        []TargetRule `yaml:"rules" doc:"Which questions go where; the first that fits decides. What fits none goes to mediumModels. Left out: simple questions to slmModels."`
}

// TargetRule sends a class of questions to a class of models.
type TargetRule struct {
	QueryComplexity string `yaml:"queryComplexity" enum:"simple|complex" doc:"Questions of this kind."`
	Condition       string `yaml:"condition" doc:"Or questions by their length: query_length, one of < <= > >=, and a number of characters."`
	Target          string `yaml:"target" alias:"targetType" required:"true" enum:"slm|medium_llm=medium" doc:"Go to these models."`
}

// Looping says whether a user begins again after its session.
type Looping struct {
	Enabled           bool          `yaml:"enabled" default:"false" doc:"Whether it does."`
	MaxLoops          int           `yaml:"maxLoops" default:"0" min:"0" max:"1000000000" doc:"How many sessions a user has at most; 0 is no bound."`
	MaxDuration       time.Duration `yaml:"maxDuration" doc:"How long a user goes on beginning new sessions; left out, as long as the run."`
	SeedRecalculation bool          `yaml:"seedRecalculation" default:"true" doc:"Whether every loop has a seed of its own, and so other questions."`
}

// DocumentLibrary is a folder of numbered documents.
type DocumentLibrary struct {
	Enabled           bool            `yaml:"enabled" default:"false" doc:"Whether it is used."`
	Storage           DocumentStorage `yaml:"storage" doc:"Where the documents are."`
	DocumentCount     int             `yaml:"documentCount" alias:"sampleSize" default:"0" min:"0" max:"1000000" doc:"How many there are, numbered from 1."`
	DocumentPaths     []string        `yaml:"documentPaths" doc:"Folders of the bucket, below storage.folder, if the documents are in more than one: they are counted on from folder to folder."`
	SelectionStrategy string          `yaml:"selectionStrategy" default:"random" enum:"random|sequential|weighted" doc:"Which document is next: any; 1, 2, 3 … in turn; or, weighted, document n in proportion to 1/n."`

	_ struct{} `yaml:"bucketName" into:"storage.bucket" doc:"The same as storage.bucket."`
}

// DocumentStorage is where documents are.
type DocumentStorage struct {
	Type      string        `yaml:"type" default:"s3" enum:"s3|minio|file" doc:"The kind of storage."`
	Endpoint  string        `yaml:"endpoint" doc:"The address of an S3-compatible server: https://host:port. Left out: AWS_ENDPOINT_URL, or AWS itself."`
	Bucket    string        `yaml:"bucket" doc:"The bucket."`
	Folder    string        `yaml:"folder" doc:"The folder, in the bucket or on disk: a path relative to the scenario."`
	AccessKey secret.String `yaml:"accessKey" doc:"The access key; write ${NAME}. Left out, with secretKey: AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY, or what anybody may read."`
	SecretKey secret.String `yaml:"secretKey" doc:"The secret key; write ${NAME}."`
}

// CacheSalt keeps tenants apart in the prefix cache.
type CacheSalt struct {
	Enabled     bool           `yaml:"enabled" default:"false" doc:"Whether a salt is sent."`
	Strategy    string         `yaml:"strategy" default:"org_id" enum:"org_id|user_id|custom" doc:"What the salt is."`
	CustomValue string         `yaml:"customValue" doc:"The salt, if the strategy is custom."`
	Validation  SaltValidation `yaml:"validation" doc:"Whether salts really keep tenants apart."`
}

// SaltValidation looks for cache hits across salts.
type SaltValidation struct {
	Enabled          bool `yaml:"enabled" default:"false" doc:"Whether that is tested."`
	ReportViolations bool `yaml:"reportViolations" default:"true" doc:"Whether every violation is reported."`
}

// Isolation is what is tested of how tenants are kept apart, a member for each
// verdict. Cache salts have theirs under cacheSalt.validation.
type Isolation struct {
	NoisyNeighbour NoisyNeighbour `yaml:"noisyNeighbour" doc:"Whether the others wait longer while one organization sends much: tested before the load."`
	Budget         BudgetTest     `yaml:"budget" doc:"Whether an organization that spends its budget is refused, in time, and it alone: judged by what the load shows."`
	RateLimit      RateLimitTest  `yaml:"rateLimit" doc:"Whether the rate limit of an organization lets through what it should: tried before the load."`
}

// NoisyNeighbour is the test of one organization against the others.
type NoisyNeighbour struct {
	Enabled           bool          `yaml:"enabled" default:"false" doc:"Whether that is tested."`
	Aggressor         int           `yaml:"aggressor" default:"1" min:"1" doc:"Which organization is loud, counted from 1."`
	Concurrency       int           `yaml:"concurrency" default:"64" min:"1" max:"10000" doc:"How many of its requests are under way at a time while it is."`
	RequestsPerSecond float64       `yaml:"requestsPerSecond" default:"10" above:"0" max:"10000" doc:"What all others together send, all the time, evenly spaced."`
	Window            time.Duration `yaml:"window" default:"5s" above:"0" doc:"How long the aggressor is loud, or quiet, at a stretch: 12 times each; the first quarter is not counted."`
	Tolerance         float64       `yaml:"tolerance" unit:"ratio" default:"0.2" doc:"How much longer the others may wait, in the 95th percentile of TTFT; never less than 50ms."`
}

// BudgetTest is the test of one budget.
type BudgetTest struct {
	Enabled      bool `yaml:"enabled" default:"false" doc:"Whether it is made."`
	Organization int  `yaml:"organization" min:"1" doc:"Which organization is to run out of its budget, counted from 1; left out, the one with the smallest."`
}

// RateLimitTest is the test of one rate limit.
type RateLimitTest struct {
	Enabled           bool    `yaml:"enabled" default:"false" doc:"Whether it is made."`
	Organization      int     `yaml:"organization" default:"1" min:"1" doc:"Whose limit is tried, counted from 1."`
	RequestsPerSecond float64 `yaml:"requestsPerSecond" above:"0" max:"1000" doc:"What is promised; left out, organizations.rateLimit."`
	Burst             int     `yaml:"burst" min:"1" max:"10000" doc:"What is promised at once; left out, as in organizations.rateLimit, or twice requestsPerSecond."`
}

// KeyLifecycle is keys that are withdrawn while the load runs. Each is the key
// of a user who is made for that and takes no part in the load.
type KeyLifecycle struct {
	Revoke  int           `yaml:"revoke" min:"0" max:"1000" doc:"How many keys are revoked."`
	Suspend int           `yaml:"suspend" min:"0" max:"1000" doc:"How many users with a key are suspended."`
	At      time.Duration `yaml:"at" unit:"s" default:"1s" doc:"When the first is withdrawn, from the start of the load."`
	Every   time.Duration `yaml:"every" unit:"s" default:"1s" doc:"The time from one to the next; revocations and suspensions take turns."`
	Within  time.Duration `yaml:"within" unit:"s" default:"5s" above:"0" doc:"How soon a key must have stopped working: one that is accepted later fails the run."`
	Watch   time.Duration `yaml:"watch" unit:"s" default:"90s" above:"0" doc:"How long a key that goes on working is tried, if the load lasts as long."`
}

// ScenarioMix is which TestScenarios are run.
type ScenarioMix struct {
	Scenarios         []ScenarioWeight `yaml:"scenarios" doc:"The scenarios and their shares."`
	SelectionStrategy string           `yaml:"selectionStrategy" default:"weighted_random" enum:"weighted_random|round_robin|per_user" doc:"Which one is next."`
	ScenarioSource    *ScenarioSource  `yaml:"scenarioSource" doc:"Where scenarios are that are not in this file."`
}

// ScenarioWeight is a TestScenario and its share.
type ScenarioWeight struct {
	Name   string  `yaml:"name" required:"true" doc:"The metadata.name of a TestScenario in this file or in scenarioSource, or one of the four that are built in."`
	Weight float64 `yaml:"weight" default:"1" min:"0" max:"1000000000" doc:"Its share, over the sum of all weights."`
	Model  string  `yaml:"model" doc:"What {{.Model}} is in it; left out, by modelPreferences, and for embeddings on the embedded platform sim-embed. An extension of ours."`
}

// BuiltInScenarios are the TestScenarios that every file may refer to.
var BuiltInScenarios = []string{"simple-question-answering", "document-analysis", "text-embedding", "multi-turn-conversation"}

// ScenarioSource is where TestScenarios are.
type ScenarioSource struct {
	Type      string `yaml:"type" required:"true" enum:"configmap|file" doc:"The kind of source."`
	Name      string `yaml:"name" doc:"The name of the ConfigMap."`
	Namespace string `yaml:"namespace" doc:"Its namespace."`
	Path      string `yaml:"path" kind:"path" doc:"The file."`
}

// Workers are the processes that the load is spread over.
type Workers struct {
	Replicas       int        `yaml:"replicas" default:"0" min:"0" max:"10000" doc:"How many; 0 is 1 on this machine, and on Kubernetes as many as usersPerWorker asks for. An organization that is too large for one of them is split."`
	UsersPerWorker int        `yaml:"usersPerWorker" default:"50" min:"1" max:"100000" doc:"How many users one of them simulates on Kubernetes, where replicas is 0."`
	Image          string     `yaml:"image" doc:"The container image, in place of the tool's own."`
	Env            []EnvVar   `yaml:"env" doc:"Environment variables of the container."`
	Resources      *Resources `yaml:"resources" doc:"What a container asks for."`
	Regions        []string   `yaml:"regions" doc:"Regions to spread over."`
}

// EnvVar is an environment variable. Its value may be a secret, so it is one.
type EnvVar struct {
	Name  string        `yaml:"name" required:"true" doc:"The name."`
	Value secret.String `yaml:"value" doc:"The value."`
}

// Resources are Kubernetes resource requirements.
type Resources struct {
	Requests Quantities `yaml:"requests" doc:"What is reserved."`
	Limits   Quantities `yaml:"limits" doc:"What may not be exceeded."`
}

// Quantities are Kubernetes quantities.
type Quantities struct {
	CPU    string `yaml:"cpu" doc:"Such as 500m."`
	Memory string `yaml:"memory" doc:"Such as 512Mi."`
}

// Targets is the platform under test.
type Targets struct {
	APIRouterURL     string                   `yaml:"apiRouterUrl" kind:"url" doc:"Where requests go. Neither this nor userOrgUrl: an embedded, simulated platform."`
	UserOrgURL       string                   `yaml:"userOrgUrl" kind:"url" doc:"The service that creates organizations, users and keys."`
	BudgetServiceURL string                   `yaml:"budgetServiceUrl" kind:"url" doc:"The service that keeps budgets."`
	AdminAPIKey      secret.String            `yaml:"adminApiKey" doc:"Opens the User/Org service; write ${NAME}."`
	AdminAPIKeyFrom  *SecretSource            `yaml:"adminApiKeyFrom" doc:"Where that key is, instead."`
	AdminLogin       *AdminLogin              `yaml:"adminLogin" doc:"An account that opens the User/Org service, where there are no admin keys. An extension of ours."`
	Credentials      *Credentials             `yaml:"credentials" doc:"Keys of your own, for a server without a User/Org service. An extension of ours."`
	Headers          map[string]secret.String `yaml:"headers" doc:"Sent with every request. Their values are treated as secrets."`
	Timeout          time.Duration            `yaml:"timeout" unit:"s" default:"60" above:"0" doc:"How long a request may take: seconds, or a duration such as 2m."`
	TLSVerify        bool                     `yaml:"tlsVerify" default:"true" doc:"Whether certificates are checked."`
	CAFile           string                   `yaml:"caFile" kind:"path" doc:"Certificates to trust, in PEM."`
	EmbeddedPlaces   int                      `yaml:"embeddedPlaces" min:"1" max:"100000" doc:"How many requests at a time a model of the embedded platform works on, while others wait; left out, 256. An extension of ours."`
}

// Embedded reports whether the platform under test is the simulated one.
func (t *Targets) Embedded() bool { return t.APIRouterURL == "" && t.UserOrgURL == "" }

// AdminLogin is an account of the platform.
type AdminLogin struct {
	Email        string        `yaml:"email" required:"true" doc:"Its e-mail address."`
	Password     secret.String `yaml:"password" doc:"Its password; write ${NAME}."`
	PasswordFrom *SecretSource `yaml:"passwordFrom" doc:"Where the password is, instead."`
}

// SecretSource is where a secret is. Exactly one field is set.
type SecretSource struct {
	File         string        `yaml:"file" kind:"path" doc:"A file that holds it."`
	Env          string        `yaml:"env" doc:"An environment variable that holds it."`
	SecretKeyRef *SecretKeyRef `yaml:"secretKeyRef" doc:"A Kubernetes Secret that holds it; only for workers in the cluster."`
}

// SecretKeyRef is a key of a Kubernetes Secret.
type SecretKeyRef struct {
	Name string `yaml:"name" required:"true" doc:"The name of the Secret."`
	Key  string `yaml:"key" required:"true" doc:"The key in it."`
}

// Credentials are keys that exist already. Exactly one field is set.
type Credentials struct {
	Keys []Credential `yaml:"keys" doc:"The keys, as ${NAME} each; or {org, user, key}."`
	File string       `yaml:"file" kind:"path" doc:"A file with a key, or org,user,key, on each line, or with a YAML list of either."`
	Env  string       `yaml:"env" doc:"An environment variable that holds keys, separated by commas, spaces or lines."`
}

// Credential is a key, and whose it is.
type Credential struct {
	Org  string        `yaml:"org" default:"byo" doc:"The organization it is counted under."`
	User string        `yaml:"user" doc:"The user's name; made up if it is left out."`
	Key  secret.String `yaml:"key" required:"true" doc:"The key; write ${NAME}."`
}

// Metrics is where measurements go while the run lasts.
type Metrics struct {
	PushgatewayURL string            `yaml:"pushgatewayUrl" kind:"url" doc:"A Prometheus Pushgateway; gets all metrics at every interval, and at the end."`
	PrometheusURL  string            `yaml:"prometheusUrl" kind:"url" doc:"Prometheus, for queries."`
	RemoteWriteURL string            `yaml:"remoteWriteUrl" kind:"url" doc:"A Prometheus remote-write receiver, likewise."`
	OTLPEndpoint   string            `yaml:"otlpEndpoint" doc:"An OpenTelemetry collector, likewise: http://host:4318, or host:4317 for gRPC."`
	ExportInterval time.Duration     `yaml:"exportInterval" default:"10s" above:"0" doc:"How often."`
	Capture        []string          `yaml:"capture" doc:"Which groups of metrics; left out, all."`
	Labels         map[string]string `yaml:"labels" doc:"Added to every metric that is exported."`
	PerUser        int               `yaml:"perUser" default:"200" min:"0" max:"100000" doc:"Up to how many users have series of their own; of more, organizations have them."`
}

// Price is what a model costs, in micro-dollars.
type Price struct {
	PromptPerMillion     MicroUSD  `yaml:"promptPerMillionUSD" alias:"promptPerMillionUsd" min:"0" doc:"Dollars per million tokens of the prompt."`
	CompletionPerMillion MicroUSD  `yaml:"completionPerMillionUSD" alias:"completionPerMillionUsd" min:"0" doc:"Dollars per million tokens of the answer."`
	CachedPerMillion     *MicroUSD `yaml:"cachedPerMillionUSD" alias:"cachedPerMillionUsd" min:"0" doc:"Dollars per million tokens of the prompt that came from the cache; left out, as any other."`
	PerRequest           MicroUSD  `yaml:"perRequestUSD" alias:"perRequestUsd" min:"0" doc:"Dollars per request."`
}

// SLO is what the platform promises. Nil and empty fields promise nothing.
type SLO struct {
	TTFT         Latencies `yaml:"ttft" doc:"The time to the first token: for each percentile (p50 to p99.9, or mean) the most it may be."`
	ITL          Latencies `yaml:"itl" doc:"The gap between tokens, likewise."`
	TPOT         Latencies `yaml:"tpot" doc:"The time per output token, likewise."`
	E2E          Latencies `yaml:"e2e" doc:"The whole request, likewise."`
	ErrorRate    *float64  `yaml:"errorRate" unit:"ratio" doc:"The most requests that may fail: 0.01, or 1%."`
	Availability *float64  `yaml:"availability" unit:"ratio" doc:"The fewest requests that must succeed: 0.999, or 99.9%."`
}

// Limits end a run early. Zero and nil fields do not limit.
type Limits struct {
	MaxCost              MicroUSD      `yaml:"maxCostUsd" alias:"maxCostUSD" above:"0" doc:"What the run may cost, in dollars; wants a price for every model, and is never exceeded."`
	MaxErrorRate         *float64      `yaml:"maxErrorRate" unit:"ratio" doc:"The share of answers that may be errors, over the last ten seconds or the whole run: 0.1, or 10%."`
	MaxDuration          time.Duration `yaml:"maxDuration" alias:"maxDurationSec=s" above:"0" doc:"How long the run may take; maxDurationSec counts seconds."`
	MaxRequests          int64         `yaml:"maxRequests" min:"1" doc:"How many requests are sent."`
	MaxRequestsPerUser   int64         `yaml:"maxRequestsPerUser" min:"1" doc:"How many requests a user sends."`
	MaxRequestsPerSecond float64       `yaml:"maxRequestsPerSecond" above:"0" doc:"How many requests are sent in a second, evenly spaced; the others wait, and the wait is counted."`
	MaxConcurrentReqs    int           `yaml:"maxConcurrentReqs" min:"1" max:"10000000" doc:"How many requests are under way at once; the others wait, and the wait is counted. Under open load, what arrives when so many are is dropped and counted; 10000 if left out."`
}

// Cleanup is what happens after a run.
type Cleanup struct {
	OnCompletion    bool   `yaml:"onCompletion" default:"true" doc:"Whether what was created on the platform is removed."`
	RetainMetrics   bool   `yaml:"retainMetrics" default:"true" doc:"Whether pushed metrics stay in the Pushgateway."`
	ExportResultsTo string `yaml:"exportResultsTo" doc:"Where the result goes: file:///folder/ or s3://bucket/folder/; {testRunId}, {timestamp} and {name} are replaced. The server and its keys come from AWS_ENDPOINT_URL, AWS_REGION, AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY."`
}

// Advanced is for special needs.
type Advanced struct {
	Debug             bool               `yaml:"debug" default:"false" doc:"Whether the log says everything."`
	DryRun            bool               `yaml:"dryRun" default:"false" doc:"Whether to stop after creating the tenants and a request to each model: no load is made."`
	CorrelationID     string             `yaml:"correlationId" kind:"bare" doc:"Sent with every request, so that it is found in the platform's traces."`
	QuestionTemplates []QuestionTemplate `yaml:"questionTemplates" doc:"Question strategies of your own."`
	Chaos             Chaos              `yaml:"chaos" doc:"Faults that are made on purpose."`
}

// QuestionTemplate is a question strategy of the user's own.
type QuestionTemplate struct {
	Name      string              `yaml:"name" doc:"The name, for questionStrategies; template-1, template-2 … if it is left out."`
	Template  string              `yaml:"template" required:"true" doc:"The text, with {variable} in it."`
	Variables map[string][]string `yaml:"variables" list:"one" doc:"The values of each variable."`
	Complex   bool                `yaml:"complex" default:"false" doc:"Whether modelTargeting takes its questions for complex ones. An extension of ours."`
}

// Chaos is faults that are made on purpose, on the way to the platform.
type Chaos struct {
	Enabled          bool     `yaml:"enabled" default:"false" doc:"Whether any are."`
	FailureRate      float64  `yaml:"failureRate" unit:"ratio" default:"0" doc:"The share of requests whose connection is refused."`
	NetworkLatency   *Jitter  `yaml:"networkLatency" doc:"Waited before every request; in no latency that is reported."`
	Resets           float64  `yaml:"resets" unit:"ratio" default:"0" doc:"The share of requests whose connection is reset while the answer is read."`
	TruncatedStreams float64  `yaml:"truncatedStreams" unit:"ratio" default:"0" doc:"The share of streams that break off."`
	DNSFailures      float64  `yaml:"dnsFailures" unit:"ratio" default:"0" doc:"The share of requests whose look-up fails."`
	SlowReads        float64  `yaml:"slowReads" unit:"ratio" default:"0" doc:"The share of answers that are read slowly. An extension of ours."`
	Outages          []Outage `yaml:"outages" doc:"Times at which nothing gets through."`
}

// Jitter is a random delay.
type Jitter struct {
	Base     time.Duration `yaml:"base" required:"true" doc:"The middle."`
	Variance time.Duration `yaml:"variance" doc:"How far from it."`
}

// Outage is a time at which nothing gets through.
type Outage struct {
	At       time.Duration `yaml:"at" required:"true" doc:"When it begins, from the start of the load."`
	Duration time.Duration `yaml:"duration" required:"true" above:"0" doc:"How long it lasts."`
}
