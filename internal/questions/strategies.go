package questions

// strategy is how one built-in strategy asks: a body, simple or complex, and
// a closing sentence that says how the answer should look.
//
// The numbers matter. A hundred thousand questions repeat themselves about
// n²/2N times, N being the number of different ones weighed by how often
// each comes, so every body here allows for tens of millions of texts
// together with its closings; TestVariety keeps it that way.
type strategy struct {
	simple, complex []string
	closings        []string
}

// names are the built-in strategies that ask; Mixed chooses among them. The
// order is part of what a seed means.
var names = []string{Historical, Mathematical, Geographical, Hypothetical, Technical}

var explain = []string{
	"Answer in about {60..400/5} words, for {audience}.",
	"Explain it to {audience} in {40..300/5} words or fewer.",
	"Give the short answer first, then {3..9} points of detail that {audience} would understand, in at most {80..300/10} words.",
	"Write {60..350/5} words that {audience} could read aloud.",
	"Use plain language fit for {audience}, and stay between {40..90} and {100..300/10} words.",
	"Finish with one sentence that {audience} would remember, and use no more than {70..350/5} words in all.",
}

var brief = []string{
	"Keep the answer under {30..120} words and suitable for {audience}.",
	"Reply to {audience}, in no more than {25..110} words.",
	"Say it in {20..99} words, as you would to {audience}.",
	"At most {25..125} words, please, and clear enough for {audience}.",
	"Answer {audience} in {2..5} sentences of at most {10..30} words each.",
}

var work = []string{
	"Show every step, in at most {60..350/5} words, as you would for {audience}.",
	"Give the result to {3..8} significant figures and explain it to {audience} in up to {50..250/10} words.",
	"Check the result in a second way, and keep it under {60..400/5} words, for {audience}.",
	"Explain the method to {audience} in {40..300/5} words before you calculate.",
	"Number your steps, use no more than {80..400/5} words, and say where {audience} would go wrong.",
}

var builtin = map[string]strategy{
	Historical: {
		simple: []string{
			"What caused {event}, and how did people in {region} hear of it?",
			"Who gained the most from {event}, and who lost the most, as far as {theme} is concerned?",
			"What is {person} best known for, and what has that to do with {theme}?",
			"Did {person} and {person2} live at the same time, and could they have known of each other?",
			"How did people in {era} deal with {theme}?",
		},
		complex: []string{
			"How did {event} change {theme} in {region}, and how long did the change last?",
			"Compare {event} with {event2}: which of them had the greater effect on {theme}, and why?",
			"How far did {person} influence {theme} in {region}, and whom did {person} build upon?",
			"What would {person} have thought of {event}, judging by what is known of their views on {theme}?",
			"Contrast {theme} in {era} with {theme} in {era2}, and say what explains the difference.",
			"Which sources would a historian use to study {theme} in {region} in the {10..90/10} years after {event}, and how reliable are they?",
			"Argue for and against the claim that {event} was inevitable, with {theme} in {region} as your evidence.",
			"Trace {theme} from {era} to {event}: what stayed the same, and what did not?",
		},
		closings: explain,
	},
	Mathematical: {
		simple: []string{
			"What is {101..9999} multiplied by {101..999}?",
			"Solve for x: {2..99}x + {1..999} = {1000..9999}.",
			"What are the greatest common divisor and the least common multiple of {1001..9999} and {1001..9999}?",
			"Write the number {10000..999999} in base {3..9} and in base 16.",
			"Is {100001..999999} a prime number, and if not, what are its factors?",
			"What is {11..97} percent of {1001..99999}, and what is left after taking it away?",
		},
		complex: []string{
			"A train travels {120..980} km at {45..320} km/h, waits for {2..59} minutes, and goes on for {50..900} km at {40..300} km/h. How long is the whole journey?",
			"Find both roots of {2..40}x² + {301..900}x − {5..900} = 0, and sketch the parabola in words.",
			"A loan of {1000..90000/250} euros at {2..9}.{0..9}% a year is repaid in equal monthly instalments over {3..30} years. What is one instalment, and how much interest is paid in all?",
			"In how many ways can a committee of {6..12} be chosen from {12..60} women and {12..60} men if at least {1..3} of each must serve?",
			"A box holds {12..80} red, {12..80} blue and {12..80} green balls, and {3..9} are drawn without putting any back. How likely is it that at least one of them is red?",
			"The sides of a triangle measure {50..99}, {50..99} and {50..98} cm. Find its angles, its area and the radius of the circle around it.",
			"A ball is thrown from a height of {1..60} m at {8..45} m/s and {15..75} degrees above the horizontal. Ignoring the air, how high does it rise, and how far does it fly?",
			"Differentiate f(x) = {2..40}x³ − {2..90}x² + {1..300}x, and find where its slope is zero.",
			"A tank of {500..9000/10} litres is filled by one pipe at {5..60} litres a minute and emptied by another at {1..4} litres a minute. When is it full, and when would it have been full without the leak?",
			"The sum of {5..40} consecutive whole numbers that begin with {101..9999} is divided by {7..99}. What is the remainder?",
		},
		closings: work,
	},
	Geographical: {
		simple: []string{
			"Which is farther from {city}, {city2} or {city3}, and by roughly how many kilometres?",
			"How do the climates of {city} and {city2} differ in {month}?",
			"Which countries does a straight line from {city} to {city2} cross?",
			"What should a traveller from {country} know before visiting {country2} in {month}?",
			"If it is noon in {city} in {month}, what time is it in {city2}, and is it still light there?",
		},
		complex: []string{
			"Plan a journey of {5..40} days from {city} to {city2} by land and sea for {2..9} people with {1000..9900/100} euros each.",
			"Compare how {country} and {country2} deal with {issue}.",
			"How does {landform} shape the lives of the people near it, and what does that mean for trade with {country}?",
			"What do {landform} and {landform2} have in common as barriers and as routes, and which has mattered more for {region}?",
			"Why did {city} grow where it is, and why has {city2} grown so differently?",
			"Suggest where a company from {country} should open {2..9} warehouses to serve {region}, with {issue} in mind.",
			"Which effects does {landform} have on the weather of {country} in {month}, if any, and through which mechanisms?",
		},
		closings: explain,
	},
	Hypothetical: {
		simple: []string{
			"What would {person} find most surprising about {city} today?",
			"If you could bring one object from {era} to {city}, what would it be, and why?",
			"What would happen in {country} if {resource} became {2..20} times as expensive overnight?",
			"What would {person} ask {person2} first, if they met?",
		},
		complex: []string{
			"If {event} had never happened, how would {theme} in {region} have looked {10..150/5} years later?",
			"Suppose {invention} had been known in {era}. What would have become of {theme} within {20..200/10} years?",
			"Imagine that {person} and {person2} met in {city} to discuss {theme}. On what would they agree, and over what would they quarrel?",
			"If the sea rose by {1..30} metres within {10..90} years, what should {city} and {city2} do, and in which order?",
			"You have {5..500/5} million euros and {2..15} years to improve {issue} in {country}. How do you spend them?",
			"If the working week in {country} were cut to {12..34} hours, what would change in {theme} over the next {3..25} years?",
			"Suppose {country} and {country2} shared one currency from the year {2030..2090}. What would be the first {2..9} problems, and who would feel them?",
			"If {resource} could no longer be transported more than {50..900/10} km, how would life in {city} change within {2..30} years?",
		},
		closings: explain,
	},
	Technical: {
		simple: []string{
			"What is {concept}, and when would you avoid it in a service written in {language}?",
			"Write a function in {language} that {task}, with {3..12} test cases.",
			"Is {store} a sensible choice for {system} with {2..90} users per second?",
			"How do you limit memory to {64..960/32} MB in a {language} program that talks to {store}?",
		},
		complex: []string{
			"Design {system} that serves {1000..90000/500} requests per second with {language} and {store}. Where is the bottleneck?",
			"A service written in {language} that keeps its data in {store} slows down after {2..72} hours in production. How would you find out why?",
			"Compare {store} and {store2} for {system} that must lose no more than {1..60} seconds of data.",
			"How would you move {system} from {store} to {store2} with at most {1..90} minutes of downtime?",
			"Our 99th percentile rose from {20..300} ms to {400..9000/10} ms after {change}. What would you check first, and why?",
			"Explain how {concept} and {concept2} work together in {system}, and where they get in each other's way.",
			"A team of {3..60} engineers wants to rewrite {system} from {language} in {language2}. What speaks for it, and what against?",
			"Review this plan: we handle {concept} ourselves in {language}, on top of {store}, for {system}. What will go wrong?",
		},
		closings: explain,
	},
}

// followUps continue a conversation about {topic}.
var followUps = []string{
	"Say more about {topic}, in about {60..400/5} words, for {audience}.",
	"How would {audience} object to what you said about {topic}, and what would you reply in {50..300/5} words?",
	"Give {2..9} concrete examples that concern {topic}, each in at most {15..60} words, for {audience}.",
	"Which part of your answer about {topic} are you least sure of? Tell {audience} in no more than {40..250/5} words.",
	"Now put what you said about {topic} into {3..12} sentences for {audience}.",
	"What did you leave out about {topic} that {audience} ought to know? Use at most {50..350/5} words.",
	"Turn your points about {topic} into {3..10} questions of at most {12..40} words to ask {audience}.",
}

// followUpsAnyway continue a conversation that has no topic with a name.
var followUpsAnyway = []string{
	"Explain the hardest step again, in about {60..400/5} words, for {audience}.",
	"Is there a shorter way? Show {audience} in no more than {50..350/5} words.",
	"What changes if the first number is {2..99} times as large? Tell {audience} in up to {40..250/5} words.",
	"Which mistake would {audience} make here? Describe it in {40..300/5} words or fewer.",
	"Make up {2..9} similar problems of at most {20..90} words each for {audience}.",
}
