// Package platform is the platform as a client sees it: the router's
// inference calls with their timing ([Client]), the User/Org API ([Tenancy]),
// errors by kind ([Error]) and prices ([Prices]).
//
// It copes with both faces of the platform, as documented and as it really
// behaves, without being told which one it meets.
package platform
