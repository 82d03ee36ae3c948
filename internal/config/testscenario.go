package config

import "time"

// TestScenario is a kind of interaction with the platform, described without
// code: an endpoint, a request with variables, checks of the answer, and
// numbers to take from it.
type TestScenario struct {
	APIVersion string           `yaml:"apiVersion" required:"true" enum:"loadtest.ai-aas.dev/v1|loadtest.ai-aas.dev/v1alpha1" doc:"The version of the format."`
	Kind       string           `yaml:"kind" required:"true" enum:"TestScenario" doc:"The kind of the document."`
	Metadata   Metadata         `yaml:"metadata" required:"true" doc:"What scenarioMix calls it."`
	Spec       TestScenarioSpec `yaml:"spec" required:"true" doc:"What it does."`

	set map[string]bool // the canonical paths that the file gave
}

// TestScenarioSpec is what a TestScenario does. Templates are JSON with
// {{.Name}} in it, where Name is one of Variables or of [TemplateNames].
type TestScenarioSpec struct {
	Type                    string              `yaml:"type" default:"question" enum:"question|document-analysis|embedding|chat|mixed" doc:"The kind of interaction."`
	Endpoint                Endpoint            `yaml:"endpoint" required:"true" doc:"What is called."`
	RequestTemplate         string              `yaml:"requestTemplate" doc:"The body, as JSON with {{.Variable}} in it."`
	InitialMessageTemplate  string              `yaml:"initialMessageTemplate" doc:"The body of the first turn, in place of requestTemplate."`
	FollowUpMessageTemplate string              `yaml:"followUpMessageTemplate" doc:"The body of each further turn."`
	ConversationDepth       *Questions          `yaml:"conversationDepth" doc:"How many turns there are."`
	DocumentSource          *DocumentSource     `yaml:"documentSource" doc:"Where document_selector takes its documents."`
	Variables               map[string]Variable `yaml:"variables" doc:"What {{.Name}} stands for."`
	Validation              []ResponseCheck     `yaml:"validation" doc:"What an answer must be like; if it is not, the request has failed."`
	Metrics                 []ExtractedMetric   `yaml:"metrics" doc:"Numbers to take from each answer."`
}

// TemplateNames are what a template may refer to without a variable of its own.
var TemplateNames = []string{
	"OrgID", "UserID", "UserSeed", "TestRunID", "RequestID", "Timestamp", "Model", "Temperature", "MaxTokens",
	"Generated", "GeneratedQuestion", "ConversationHistory", "PreviousResponse", "ExtractedTopic",
}

// Endpoint is a call of the API.
type Endpoint struct {
	Path   string `yaml:"path" required:"true" doc:"The path, such as /v1/chat/completions."`
	Method string `yaml:"method" default:"POST" enum:"GET|POST|PUT|PATCH|DELETE" doc:"The HTTP method."`
}

// DocumentSource is where documents are.
type DocumentSource struct {
	Type      string           `yaml:"type" required:"true" enum:"configmap|inline" doc:"In a ConfigMap, or here."`
	Name      string           `yaml:"name" doc:"The ConfigMap."`
	Key       string           `yaml:"key" doc:"The key in it, which holds a JSON list of documents."`
	Documents []InlineDocument `yaml:"documents" doc:"The documents themselves."`
}

// InlineDocument is a document.
type InlineDocument struct {
	Name     string  `yaml:"name" required:"true" doc:"Its name."`
	Content  string  `yaml:"content" required:"true" doc:"Its text."`
	Category string  `yaml:"category" doc:"A label."`
	Weight   float64 `yaml:"weight" default:"1" min:"0" max:"1000000000" doc:"Its share, if the strategy is weighted."`
}

// The types of variable.
const (
	Selector          = "selector"
	RandomInt         = "random_int"
	RandomFloat       = "random_float"
	QuestionGenerator = "question_generator"
	DocumentSelector  = "document_selector"
	TextGenerator     = "text_generator"
	FollowUpGenerator = "follow_up_generator"
	FileLoader        = "file_loader"
	TemplateVariable  = "template"
	TimestampVariable = "timestamp"
	UUIDVariable      = "uuid"
	CounterVariable   = "counter"
)

// Variable is a value that is made anew for every request. Which of the other
// fields it has depends on Type.
type Variable struct {
	Type      string    `yaml:"type" required:"true" enum:"selector|random_int|random_float|question_generator|document_selector|text_generator|follow_up_generator|file_loader|template|timestamp|uuid|counter" doc:"How it is made."`
	Values    []string  `yaml:"values" doc:"selector: what is chosen from."`
	Weights   []float64 `yaml:"weights" min:"0" max:"1000000000" doc:"selector: the share of each value; left out, all alike."`
	Min       float64   `yaml:"min" doc:"random_int, random_float: at least."`
	Max       float64   `yaml:"max" doc:"random_int, random_float: at most."`
	Precision int       `yaml:"precision" min:"0" max:"15" doc:"random_float: how many decimals."`
	Strategy  string    `yaml:"strategy" doc:"question_generator: a question strategy; document_selector: random, sequential or weighted."`
	Seed      string    `yaml:"seed" doc:"question_generator: where its randomness starts."`
	Source    string    `yaml:"source" doc:"document_selector: documentSource."`
	Method    string    `yaml:"method" enum:"lorem|words|sentences|paragraphs" doc:"text_generator: what the text is like."`
	MinWords  int       `yaml:"min_words" alias:"minWords" min:"1" max:"1000000" doc:"text_generator: at least."`
	MaxWords  int       `yaml:"max_words" alias:"maxWords" min:"1" max:"1000000" doc:"text_generator: at most."`
	BasedOn   string    `yaml:"based_on" alias:"basedOn" enum:"previous_response" doc:"follow_up_generator: what it follows."`
	Templates []string  `yaml:"templates" doc:"follow_up_generator: the questions."`
	Path      string    `yaml:"path" kind:"path" doc:"file_loader: the file."`
	Encoding  string    `yaml:"encoding" enum:"utf-8|base64" doc:"file_loader: how it is read."`
	Value     string    `yaml:"value" doc:"template: a text with {{.Name}} in it."`
	Format    string    `yaml:"format" doc:"timestamp: a layout of Go's package time."`
	Version   int       `yaml:"version" min:"4" max:"7" doc:"uuid: the version, 4 or 7."`
	Start     int64     `yaml:"start" doc:"counter: the first value."`
	Step      int64     `yaml:"step" doc:"counter: the difference to the next."`
}

// ResponseCheck is something an answer must be like.
type ResponseCheck struct {
	Type      string        `yaml:"type" required:"true" enum:"status_code|json_path|response_time" doc:"What is looked at."`
	Expected  []int         `yaml:"expected" list:"one" min:"100" max:"599" doc:"status_code: the status, or a list."`
	Path      string        `yaml:"path" doc:"json_path: where, such as $.choices[0].message.content."`
	Condition string        `yaml:"condition" enum:"not_empty|equals|greater_than|min_length|is_array" doc:"json_path: what must be true there."`
	Value     any           `yaml:"value" doc:"json_path: what it is compared with."`
	Max       time.Duration `yaml:"max_milliseconds" alias:"maxMilliseconds" unit:"ms" above:"0" doc:"response_time: the most it may be, in milliseconds."`
}

// ExtractedMetric is a number taken from an answer.
type ExtractedMetric struct {
	Name      string `yaml:"name" required:"true" doc:"Its name."`
	Source    string `yaml:"source" enum:"response|latency|variable|conversation_depth|accumulated" doc:"Where it is: the answer, the time it took, a variable, the number of turns, or the sum over a conversation. Left out, the answer."`
	JSONPath  string `yaml:"jsonPath" doc:"Where in the answer."`
	Variable  string `yaml:"variable" doc:"Which variable."`
	Transform string `yaml:"transform" enum:"length|array_length" doc:"What is done to it."`
}
